//! Messages in frames pass the router by. Whatever is asked, the answer is the one that the router gives, which has
//! every request whose path ends in a slash.

use serde_json::{Value, json};
use testkit::{
    Account, ChatSocket, Server, ServerOptions, SocketAnswer,
    account::{ACCESS_KEY, base64},
    register_many,
};
use uuid::Uuid;

/// A request to send, without the prefix of its path.
struct Case {
    destination: String,
    query: &'static str,
    headers: Vec<String>,
    body: Vec<u8>,
}

fn message(device: u8, registration_id: u32, content: &str) -> Value {
    json!({
        "type": 1,
        "destinationDeviceId": device,
        "destinationRegistrationId": registration_id,
        "content": content,
    })
}

fn bodies(to: &Account) -> Vec<Vec<u8>> {
    let right = to.registration_id.into();
    let messages = |messages: Value| json!({ "timestamp": 1, "messages": messages }).to_string().into_bytes();
    let mut bodies = vec![
        messages(json!([message(1, right, "YWJj")])),
        messages(json!([message(1, right + 1, "YWJj")])),
        messages(json!([message(1, right, "YWJj"), message(2, 7, "YWJj")])),
        messages(json!([message(1, right, "YWJj"), message(1, right, "YWJj")])),
        messages(json!([message(1, right, "")])),
        messages(json!([message(1, right, "!")])),
        messages(json!([])),
        messages(json!([message(1, right, &base64(&vec![1; 300 * 1024]))])),
        json!({ "timestamp": u64::MAX, "messages": [message(1, right, "YWJj")] }).to_string().into_bytes(),
    ];
    bodies.extend([&b""[..], b"{", b"[]", b"null", b"\xFF"].map(<[u8]>::to_vec));
    bodies
}

fn cases(to: &Account) -> Vec<Case> {
    let unknown = Uuid::from_u128(7);
    let destinations = [
        to.aci.to_string(),
        format!("PNI:{}", to.pni),
        to.aci.to_string().to_uppercase(),
        unknown.to_string(),
    ];
    let right_key = format!("Unidentified-Access-Key: {}", base64(&ACCESS_KEY));
    let wrong_key = format!("unidentified-access-key:{}", base64(&[8; 16]));
    let token = format!("group-send-token:{}", base64(&[9; 64]));
    let headers = [
        vec![],
        vec!["content-type: application/json".to_owned()],
        vec![right_key.clone()],
        vec![wrong_key.clone()],
        vec!["unidentified-access-key:AAAA".to_owned()],
        vec!["unidentified-access-key:ä".to_owned()],
        vec![wrong_key.clone(), right_key.clone()],
        vec![token.clone()],
        vec![right_key.clone(), token],
    ];
    let mut cases = Vec::new();
    for destination in destinations.iter().chain([&"x".to_owned(), &"%61".to_owned()]) {
        for query in ["", "?story=true", "?story=false", "?story=1", "?a=b", "?"] {
            for headers in &headers {
                let (destination, headers, body) =
                    (destination.clone(), headers.clone(), bodies(to).swap_remove(0));
                cases.push(Case { destination, query, headers, body });
            }
        }
    }
    for body in bodies(to) {
        let headers = vec![right_key.clone()];
        cases.push(Case { destination: to.aci.to_string(), query: "", headers, body });
    }
    cases
}

async fn ask(socket: &mut ChatSocket, case: &Case, slash: &str) -> anyhow::Result<SocketAnswer> {
    let path = format!("/v1/messages/{}{slash}{}", case.destination, case.query);
    let headers: Vec<_> = case.headers.iter().map(String::as_str).collect();
    let id = socket.queue_request("PUT", &path, &headers, &case.body);
    let mut answer = socket.answer(id).await?;
    // The time goes on between two questions.
    for line in &mut answer.headers {
        if line.starts_with("x-signal-timestamp:") {
            line.truncate(line.find(':').unwrap_or_default());
        }
    }
    answer.headers.sort_unstable();
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_are_those_of_the_router() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let [sender, recipient] = <[Account; 2]>::try_from(register_many(&server, 0, 2, 2).await?)
        .map_err(|_| anyhow::anyhow!("two accounts"))?;
    let mut statuses = std::collections::BTreeSet::new();
    for account in [Some(&sender), None] {
        let mut socket = ChatSocket::connect(server.target(), account).await?;
        for case in cases(&recipient) {
            let past = ask(&mut socket, &case, "").await?;
            let through = ask(&mut socket, &case, "/").await?;
            let Case { destination, query, headers, body } = &case;
            let body = String::from_utf8_lossy(body.get(..80).unwrap_or(body));
            let what = format!("{destination}{query} {headers:?} {body}");
            assert_eq!(past.status, through.status, "{what}");
            assert_eq!(past.headers, through.headers, "{what}");
            assert_eq!(past.body, through.body, "{what}");
            statuses.insert(past.status);
        }
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [200, 400, 401, 404, 409, 410, 413, 422]);
    Ok(())
}
