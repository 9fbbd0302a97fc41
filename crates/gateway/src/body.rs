//! Reading JSON bodies the way Signal's server answers for them.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::reply::Refusal;

/// A JSON body, whatever the content type says: text that is not JSON is refused with 400, JSON of the
/// wrong shape and a missing body with 422, a body over the limit with 413.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S, T> FromRequest<S> for JsonBody<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        parse(&bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

/// Like [`JsonBody`], but the body may be missing, or `null`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionalJsonBody<T>(pub(crate) Option<T>);

impl<S, T> FromRequest<S> for OptionalJsonBody<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        parse(&bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

/// Reads a JSON text.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::invalid("the body is missing"));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Refusal::invalid("the body does not have the expected shape"),
        Category::Syntax | Category::Eof | Category::Io => {
            Refusal::new(StatusCode::BAD_REQUEST, "the body is not JSON")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Number {
        _n: u8,
    }

    #[test]
    fn text_that_is_not_json_differs_from_json_of_the_wrong_shape() {
        let status =
            |text: &str| parse::<Number>(text.as_bytes()).map(drop).unwrap_err().into_response().status();
        assert_eq!(status(""), 422);
        assert_eq!(status("{"), 400);
        assert_eq!(status("{]"), 400);
        assert_eq!(status("[]"), 422);
        assert_eq!(status(r#"{"_n":256}"#), 422);
        assert_eq!(status(r#"{"_n":"1"}"#), 422);
        assert!(parse::<Number>(br#"{"_n":1,"unknown":true}"#).is_ok());
    }
}
