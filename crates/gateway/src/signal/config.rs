//! `GET /v2/config` and `org.signal.chat.remoteconfiguration.RemoteConfiguration`: settings that the operator gives to clients.

use std::{collections::BTreeMap, sync::Arc};

use auth::remote_config::RemoteConfig;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, StatusCode,
    header::{ETAG, IF_NONE_MATCH},
};
use serde::Serialize;
use tonic::{Request, Status};

use crate::{
    caller::AuthenticatedDevice,
    grpc::{
        access,
        chat::remoteconfiguration::{
            Configuration, GetConfigurationRequest, GetConfigurationResponse, TaggedConfiguration,
            get_configuration_response::Response as Answer, remote_configuration_server,
        },
    },
    routes::Routes,
    services::Services,
};

pub(super) fn routes() -> Routes {
    Routes::default().get("/v2/config", show)
}

#[derive(Serialize)]
struct ConfigBody<'a> {
    config: &'a BTreeMap<String, String>,
}

async fn show(
    _: AuthenticatedDevice,
    State(config): State<Arc<RemoteConfig>>,
    headers: HeaderMap,
) -> Response {
    answer(&config, &headers)
}

fn answer(config: &RemoteConfig, headers: &HeaderMap) -> Response {
    let held = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    // Signal's desktop app fails without the tag, also where nothing has changed.
    let etag = [(ETAG, format!("\"{}\"", config.etag()))];
    if held.is_some_and(|held| config.is_current(held)) {
        (StatusCode::NOT_MODIFIED, etag).into_response()
    } else {
        (etag, Json(ConfigBody { config: config.values() })).into_response()
    }
}

/// The service for devices that say who they are.
pub(crate) struct RemoteConfiguration(Arc<RemoteConfig>);

impl RemoteConfiguration {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self(Arc::clone(&services.parts().remote_config))
    }
}

#[tonic::async_trait]
impl remote_configuration_server::RemoteConfiguration for RemoteConfiguration {
    async fn get_configuration(
        &self,
        request: Request<GetConfigurationRequest>,
    ) -> Result<tonic::Response<GetConfigurationResponse>, Status> {
        access::device(&request)?;
        let held = std::str::from_utf8(&request.get_ref().etag);
        let response = if held.is_ok_and(|held| self.0.is_current(held)) {
            Answer::EtagMatched(true)
        } else {
            let values = self.0.values().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            Answer::TaggedConfiguration(TaggedConfiguration {
                configuration: Some(Configuration { values }),
                etag: self.0.etag().to_owned().into(),
            })
        };
        Ok(tonic::Response::new(GetConfigurationResponse { response: Some(response) }))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use http::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn what_the_client_holds_is_not_sent_again() {
        let config = RemoteConfig::new(BTreeMap::from([("a.b".to_owned(), "true".to_owned())]));
        let first = answer(&config, &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let etag = first.headers()[ETAG].clone();
        assert!(etag.to_str().unwrap().starts_with('"') && etag.to_str().unwrap().ends_with('"'));
        let body = to_bytes(first.into_body(), 1024).await.unwrap();
        assert_eq!(body, r#"{"config":{"a.b":"true"}}"#);

        let again = answer(&config, &HeaderMap::from_iter([(IF_NONE_MATCH, etag.clone())]));
        assert_eq!((again.status(), &again.headers()[ETAG]), (StatusCode::NOT_MODIFIED, &etag));
        assert!(to_bytes(again.into_body(), 1024).await.unwrap().is_empty());

        let other = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"x\""))]);
        assert_eq!(answer(&config, &other).status(), StatusCode::OK);
    }
}
