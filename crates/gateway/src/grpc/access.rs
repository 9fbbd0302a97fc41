//! Who may call a gRPC service: every service is added through one of these two functions.

use auth::Authenticated;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use http::header::AUTHORIZATION;
use tonic::{Status, service::Routes};

use super::error;
use crate::{
    caller::{self, Unidentified},
    services::Services,
};

/// Services for devices that say who they are, with every call.
pub(crate) fn authenticated(routes: Routes, services: Services) -> Router {
    merge_ready(routes).route_layer(from_fn_with_state(services, require_device))
}

/// Services for callers that do not say who they are; one that does is refused.
pub(crate) fn anonymous(routes: Routes) -> Router {
    merge_ready(routes).route_layer(from_fn(refuse_credentials))
}

/// Without the fallback that each set of routes brings: there is one for all of them.
fn merge_ready(routes: Routes) -> Router {
    routes.into_axum_router().reset_fallback()
}

/// The device that made a call to a service added with [`authenticated`].
pub(crate) fn device<T>(request: &tonic::Request<T>) -> Result<Authenticated, Status> {
    request.extensions().get().copied().ok_or_else(error::bad_authentication)
}

async fn require_device(State(services): State<Services>, mut request: Request, next: Next) -> Response {
    match caller::identify(&services.parts().accounts, request.headers()).await {
        Ok(Some(device)) => {
            request.extensions_mut().insert(device);
            next.run(request).await
        }
        Ok(None) => error::bad_authentication().into_http(),
        Err(Unidentified::Refused) => error::invalid_credentials().into_http(),
        Err(Unidentified::Storage(cause)) => error::storage(&cause).into_http(),
    }
}

async fn refuse_credentials(request: Request, next: Next) -> Response {
    if request.headers().contains_key(AUTHORIZATION) {
        return error::bad_authentication().into_http();
    }
    next.run(request).await
}
