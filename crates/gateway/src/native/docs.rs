//! `GET /openapi.json` and `GET /docs`: what there is, for programs and for people.
//!
//! Both are made from the descriptions that stand at the handlers. The page is plain HTML without a script, and takes
//! nothing from anywhere else.

use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        PathItem, RefOr, Schema,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    account, devices, email, jwks, keys, linking, login, messages, passkey_login, problem::Code, push,
    reauthentication, register, reset, second_factors, second_step, sessions,
};
use crate::{caller::Anybody, socket};

/// What the page may load: its own style, and nothing else from anywhere.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("style.css");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Heliograph, native API",
        description = "JSON for apps of your own. Accounts of this API and of official Signal clients reach each other. \
            Refusals are problem details (RFC 9457) with a stable `code`.",
    ),
    paths(
        register::register, login::login, login::refresh, login::logout,
        second_step::finish, passkey_login::options, passkey_login::login, reauthentication::reauthenticate,
        second_factors::list, second_factors::rename, second_factors::remove,
        second_factors::totp::start, second_factors::totp::confirm,
        second_factors::passkeys::options, second_factors::passkeys::add,
        second_factors::recovery_codes::make,
        sessions::list, sessions::end_others, sessions::end,
        account::change_password, account::delete, account::profile,
        email::prove, email::show, email::set, email::confirm, email::remove,
        reset::request, reset::confirm,
        devices::list, devices::rename, devices::remove,
        linking::offer, linking::progress, linking::withdraw, linking::link,
        push::offer, push::register, push::unregister,
        keys::publish, keys::counts, keys::fetch,
        messages::send, messages::fetch, messages::acknowledge, messages::acknowledge_one,
        socket::native::stream,
        jwks::show, openapi, page, style,
    ),
    components(schemas(super::envelope::MessageBody)),
    tags(
        (name = "accounts", description = "Accounts and what belongs to them."),
        (name = "sessions", description = "Logging in, and what follows."),
        (name = "second factors", description = "What an account asks for besides its password."),
        (name = "devices", description = "The devices of an account: linking, naming and removing them, and waking those that are away."),
        (name = "keys", description = "Pre-keys, by which sessions of Signal's protocol start."),
        (name = "messages", description = "Sending and receiving."),
        (name = "documentation", description = "What you are reading."),
    ),
    modifiers(&Bearer),
)]
struct Native;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("An access token."))
            .build();
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The description of the native API (`OpenAPI` 3.1), in JSON.
pub fn openapi_json() -> String {
    Native::openapi().to_pretty_json().unwrap_or_default()
}

/// Shows this description (`OpenAPI` 3.1).
#[utoipa::path(
    get, path = "/openapi.json", tag = "documentation",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)),
)]
pub(super) async fn openapi(_: Anybody) -> Response {
    answer("application/json", openapi_json())
}

/// Shows this description for people.
#[utoipa::path(
    get, path = "/docs", tag = "documentation",
    responses((status = 200, description = "A page of HTML.", body = String, content_type = "text/html")),
)]
pub(super) async fn page(_: Anybody) -> Response {
    answer("text/html; charset=utf-8", html(&Native::openapi()))
}

/// Shows what makes the page readable.
#[utoipa::path(
    get, path = "/docs/style.css", tag = "documentation",
    responses((status = 200, description = "A style sheet.", body = String, content_type = "text/css")),
)]
pub(super) async fn style(_: Anybody) -> Response {
    answer("text/css; charset=utf-8", STYLE.to_owned())
}

fn answer(content_type: &'static str, body: String) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn html(api: &utoipa::openapi::OpenApi) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<link rel=\"stylesheet\" href=\"/docs/style.css\">\n\
         <h1>{title}</h1>\n<p>{about}</p>\n<p>For programs: <a href=\"/openapi.json\">openapi.json</a>.</p>\n",
        title = escaped(&api.info.title),
        about = escaped(api.info.description.as_deref().unwrap_or_default()),
    );
    for tag in api.tags.iter().flatten() {
        // Writing to a string does not fail.
        let about = escaped(tag.description.as_deref().unwrap_or_default());
        let _ = write!(page, "<h2 id=\"{0}\">{0}</h2>\n<p>{about}</p>\n", escaped(&tag.name));
        for (path, item) in &api.paths.paths {
            for (method, operation) in operations(item) {
                if operation.tags.iter().flatten().any(|name| *name == tag.name) {
                    write_operation(&mut page, method, path, operation);
                }
            }
        }
    }
    write_schemas(&mut page, api);
    page.push_str("<h2 id=\"problems\">problems</h2>\n<table>\n");
    for code in Code::ALL {
        let (id, status) = (code.code(), code.status().as_u16());
        let title = escaped(code.title());
        let _ = writeln!(page, "<tr id=\"{id}\"><td><code>{id}</code><td>{status}<td>{title}");
    }
    page.push_str("</table>\n");
    page
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn write_operation(page: &mut String, method: &str, path: &str, operation: &Operation) {
    let _ = writeln!(page, "<section>\n<h3><code>{method} {}</code></h3>", escaped(path));
    let about = operation.summary.iter().chain(&operation.description);
    for text in about {
        let _ = writeln!(page, "<p>{}</p>", escaped(text));
    }
    if operation.security.is_some() {
        page.push_str("<p>Takes an access token.</p>\n");
    }
    for parameter in operation.parameters.iter().flatten().filter_map(here) {
        let about = escaped(parameter.description.as_deref().unwrap_or_default());
        let _ = writeln!(page, "<p><code>{}</code> {about}</p>", escaped(&parameter.name));
    }
    if let Some(body) = operation.request_body.as_ref().and_then(here) {
        for content in body.content.values().filter_map(here) {
            write_schema_link(page, "Body", content.schema.as_ref());
        }
    }
    for (status, response) in &operation.responses.responses {
        let Some(response) = here(response) else { continue };
        let _ = writeln!(page, "<p><code>{}</code> {}</p>", escaped(status), escaped(&response.description));
        for content in response.content.values().filter_map(here) {
            write_schema_link(page, "Answer", content.schema.as_ref());
        }
    }
    page.push_str("</section>\n");
}

/// What stands there itself, and is not elsewhere.
fn here<T>(part: &RefOr<T>) -> Option<&T> {
    match part {
        RefOr::T(part) => Some(part),
        RefOr::Ref(_) => None,
    }
}

fn write_schema_link(page: &mut String, what: &str, schema: Option<&RefOr<Schema>>) {
    let Some(RefOr::Ref(reference)) = schema else { return };
    let name = escaped(reference.ref_location.rsplit('/').next().unwrap_or_default());
    let _ = writeln!(page, "<p>{what}: <a href=\"#schema-{name}\">{name}</a></p>");
}

fn write_schemas(page: &mut String, api: &utoipa::openapi::OpenApi) {
    page.push_str("<h2 id=\"schemas\">schemas</h2>\n");
    for (name, schema) in api.components.iter().flat_map(|components| &components.schemas) {
        let name = escaped(name);
        let json = serde_json::to_string_pretty(schema).unwrap_or_default();
        let _ = writeln!(
            page,
            "<section id=\"schema-{name}\">\n<h3>{name}</h3>\n<pre>{}</pre>\n</section>",
            escaped(&json)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What is described: method and path.
    fn described() -> BTreeSet<(String, String)> {
        let api = Native::openapi();
        let all = api.paths.paths.iter();
        all.flat_map(|(path, item)| {
            operations(item).map(move |(method, _)| (method.to_owned(), path.clone()))
        })
        .collect()
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let routes = super::super::routes().table();
        let mut routes: BTreeSet<_> =
            routes.into_iter().map(|route| (route.method.to_string(), route.path)).collect();
        // Opened before the router is asked.
        routes.insert(("GET".to_owned(), socket::native::PATH.to_owned()));
        assert_eq!(described(), routes);
    }

    #[test]
    fn the_description_is_of_the_version_it_says_and_names_its_parts() {
        let api: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
        assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
        let schemas = api["components"]["schemas"].as_object().unwrap();
        for name in ["Register", "LoggedIn", "Tokens", "Problem", "SendMessage", "Messages", "Message"] {
            assert!(schemas.contains_key(name), "{name} is not in {:?}", schemas.keys());
        }
        let properties = schemas["SendMessage"]["properties"].as_object().unwrap();
        for field in ["recipient_id", "encrypted_payload", "timestamp", "sender_id"] {
            assert!(properties.contains_key(field), "{field}");
        }
        assert_eq!(api["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    }

    #[test]
    fn the_page_shows_everything_and_asks_nobody_else() {
        let page = html(&Native::openapi());
        for (method, path) in described() {
            assert!(page.contains(&format!("<code>{method} {path}</code>")), "{method} {path}");
        }
        for code in Code::ALL {
            assert!(page.contains(&format!("id=\"{}\"", code.code())), "{code:?}");
        }
        for elsewhere in ["http:", "https:", "<script", "style=", "//"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
