//! `POST /v2/backup/auth/check` and `POST /v2/svr/auth/check`: which credentials of Signal's service for
//! recovering by PIN belong to a number. There is no such service here, so none does. In gRPC it is
//! `org.signal.chat.credentials.CredentialsAnonymous`.

use std::{collections::BTreeMap, ops::RangeInclusive};

use axum::Json;
use protocol::PhoneNumber;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

use crate::{
    body::JsonBody,
    caller::Anybody,
    grpc::{
        chat::credentials::{
            CheckSvrCredentialsRequest, CheckSvrCredentialsResponse, SvrCredentialsMatch,
            credentials_anonymous_server,
        },
        error,
    },
    reply::Refusal,
};

/// How many credentials may be asked about at once.
const TOKENS: RangeInclusive<usize> = 1..=10;

/// The answer for credentials that no service has issued.
const INVALID: &str = "invalid";

#[derive(Deserialize)]
pub(super) struct CheckRequest {
    #[serde(rename = "number")]
    _number: PhoneNumber,
    #[serde(alias = "passwords")]
    tokens: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct CheckResponse {
    matches: BTreeMap<String, &'static str>,
}

pub(super) async fn check(
    _: Anybody,
    JsonBody(request): JsonBody<CheckRequest>,
) -> Result<Json<CheckResponse>, Refusal> {
    if !TOKENS.contains(&request.tokens.len()) {
        return Err(Refusal::invalid("between 1 and 10 tokens"));
    }
    let matches = request.tokens.into_iter().map(|token| (token, INVALID)).collect();
    Ok(Json(CheckResponse { matches }))
}

/// The service for callers that do not say who they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CredentialsAnonymous;

#[tonic::async_trait]
impl credentials_anonymous_server::CredentialsAnonymous for CredentialsAnonymous {
    async fn check_svr_credentials(
        &self,
        request: Request<CheckSvrCredentialsRequest>,
    ) -> Result<Response<CheckSvrCredentialsResponse>, Status> {
        let CheckSvrCredentialsRequest { number, passwords } = request.into_inner();
        if number.parse::<PhoneNumber>().is_err() {
            return Err(error::constraint_violated("number", "must be a number such as +15550100001"));
        }
        if !TOKENS.contains(&passwords.len()) {
            return Err(error::constraint_violated("passwords", "must be 1 to 10"));
        }
        let invalid = i32::from(SvrCredentialsMatch::Invalid);
        let matches = passwords.into_iter().map(|password| (password, invalid)).collect();
        Ok(Response::new(CheckSvrCredentialsResponse { matches }))
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;
    use crate::body::parse;

    async fn ask(body: &str) -> Result<String, u16> {
        let status = |refusal: Refusal| refusal.into_response().status().as_u16();
        let request = parse(body.as_bytes()).map_err(status)?;
        let Json(answer) = check(Anybody, JsonBody(request)).await.map_err(status)?;
        Ok(serde_json::to_string(&answer).unwrap())
    }

    #[tokio::test]
    async fn every_token_is_answered_for() {
        for name in ["tokens", "passwords"] {
            let body = format!(r#"{{"number":"+15550100001","{name}":["u:p","v:q"]}}"#);
            assert_eq!(ask(&body).await.unwrap(), r#"{"matches":{"u:p":"invalid","v:q":"invalid"}}"#);
        }
        let many = format!(r#"{{"number":"+15550100001","tokens":["{}"]}}"#, ["t"; 11].join("\",\""));
        for body in [r#"{"number":"+15550100001","tokens":[]}"#, r#"{"number":"1","tokens":["u:p"]}"#, &many]
        {
            assert_eq!(ask(body).await, Err(422), "{body}");
        }
    }
}
