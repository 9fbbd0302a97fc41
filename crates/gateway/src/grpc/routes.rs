//! Collects gRPC services, and writes down their methods for the route table.

use std::{convert::Infallible, fmt};

use axum::{Router, response::IntoResponse};
use http::{Method, Request};
use tonic::{body::Body, server::NamedService, service};
use tower::Service;

use super::access;
use crate::{
    routes::{Access, Interface, Route},
    services::Services,
};

/// The methods of every service, as the `.proto` files declare them.
const METHODS: &[(&str, &[&str])] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// gRPC services by who may call them.
#[derive(Default)]
pub(crate) struct GrpcRoutes {
    authenticated: Vec<Add>,
    anonymous: Vec<Add>,
    table: Vec<Route>,
}

/// Makes a service and adds it.
type Add = Box<dyn FnOnce(service::Routes, &Services) -> service::Routes>;

impl GrpcRoutes {
    /// Adds a service for devices that say who they are, with every call.
    pub(crate) fn authenticated<S: GrpcService>(mut self, make: impl FnOnce(&Services) -> S + 'static) -> Self
    where
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.record::<S>(Access::Device);
        self.authenticated.push(Box::new(|routes, services| routes.add_service(make(services))));
        self
    }

    /// Adds a service for callers that do not say who they are; one that does is refused.
    pub(crate) fn anonymous<S: GrpcService>(mut self, make: impl FnOnce(&Services) -> S + 'static) -> Self
    where
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.record::<S>(Access::Anonymous);
        self.anonymous.push(Box::new(|routes, services| routes.add_service(make(services))));
        self
    }

    /// What was added.
    pub(crate) fn table(self) -> Vec<Route> {
        self.table
    }

    /// The services, made.
    pub(crate) fn into_router(self, services: Services) -> Router {
        let make = |adds: Vec<Add>| {
            adds.into_iter().fold(service::Routes::default(), |routes, add| add(routes, &services))
        };
        let (authenticated, anonymous) = (make(self.authenticated), make(self.anonymous));
        // What no service answers is answered in one place for all interfaces.
        let authenticated = access::authenticated(authenticated, services).reset_fallback();
        authenticated.merge(access::anonymous(anonymous).reset_fallback())
    }

    fn record<S: NamedService>(&mut self, access: Access) {
        let methods = METHODS.iter().filter(|(service, _)| *service == S::NAME).flat_map(|(_, names)| *names);
        self.table.extend(methods.map(|name| Route {
            interface: Interface::Grpc,
            method: Method::POST,
            path: format!("/{}/{name}", S::NAME),
            access,
        }));
    }
}

/// What the generated servers are.
pub(crate) trait GrpcService:
    Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static
{
}

impl<S> GrpcService for S where
    S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static
{
}

impl fmt::Debug for GrpcRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcRoutes").field("table", &self.table).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::METHODS;

    #[test]
    fn every_declared_method_is_served() {
        let table = crate::route_table();
        for (service, methods) in METHODS {
            for method in *methods {
                let path = format!("/{service}/{method}");
                assert!(table.iter().any(|route| route.path == path), "{path}");
            }
        }
    }
}
