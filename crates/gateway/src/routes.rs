//! The route table. Every route is added through [`Routes`] or [`Services`](crate::grpc), which write down
//! what was added and who may call it: a route that is not in the table does not exist.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    handler::Handler,
    routing::{self, MethodRouter},
};
use http::Method;

use crate::{
    caller::{
        Anonymous, Anybody, AuthenticatedDevice, BearerDevice, MaybeAuthenticated, ReauthenticatedDevice,
    },
    services::Services,
};

/// Something that can be asked of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The language it is asked in.
    pub interface: Interface,
    /// The method of HTTP.
    pub method: Method,
    /// The path, with variable parts in braces.
    pub path: String,
    /// Who may ask.
    pub access: Access,
}

/// The languages in which the server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// REST, over HTTPS or in the frames of a websocket.
    Rest,
    /// gRPC.
    Grpc,
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A device that says who it is.
    Device,
    /// Callers that do not say who they are, and devices that do. Wrong credentials are refused.
    MaybeDevice,
    /// Only callers that do not say who they are.
    Anonymous,
    /// Anybody. Credentials are not looked at.
    Anybody,
    /// A native device that shows an access token.
    Bearer,
    /// One whose owner has just shown again who they are.
    Reauthenticated,
    /// Somebody with credentials for an account that is yet to be.
    Newcomer,
}

/// A handler's first parameter, which says who may call it.
pub(crate) trait Caller {
    /// Who may.
    const ACCESS: Access;
}

impl Caller for AuthenticatedDevice {
    const ACCESS: Access = Access::Device;
}

impl Caller for BearerDevice {
    const ACCESS: Access = Access::Bearer;
}

impl Caller for ReauthenticatedDevice {
    const ACCESS: Access = Access::Reauthenticated;
}

impl Caller for MaybeAuthenticated {
    const ACCESS: Access = Access::MaybeDevice;
}

impl Caller for Anonymous {
    const ACCESS: Access = Access::Anonymous;
}

impl Caller for Anybody {
    const ACCESS: Access = Access::Anybody;
}

/// The parameters of a handler, of which the first is a [`Caller`]. A handler that does not say who may
/// call it cannot be added.
pub(crate) trait CallerFirst {
    /// Who may call.
    const ACCESS: Access;
}

macro_rules! caller_first {
    ($($parameter:ident),*) => {
        // The first element is what axum tells handlers from other things by.
        impl<M, C: Caller, $($parameter),*> CallerFirst for (M, C, $($parameter,)*) {
            const ACCESS: Access = C::ACCESS;
        }
    };
}

caller_first!();
caller_first!(P1);
caller_first!(P1, P2);
caller_first!(P1, P2, P3);
caller_first!(P1, P2, P3, P4);
caller_first!(P1, P2, P3, P4, P5);

/// Collects REST routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    router: Router<Services>,
    table: Vec<Route>,
}

macro_rules! methods {
    ($($function:ident: $method:ident),* $(,)?) => {$(
        /// Adds a handler for that path and the method of this function's name.
        pub(crate) fn $function<H, P>(self, path: &'static str, handler: H) -> Self
        where
            H: Handler<P, Services>,
            P: CallerFirst + 'static,
        {
            self.add(Method::$method, path, P::ACCESS, routing::$function(handler))
        }
    )*};
}

impl Routes {
    methods! { get: GET, put: PUT, post: POST, patch: PATCH, delete: DELETE, head: HEAD }

    /// Limits the bodies of the routes so far to that many bytes. What is said first counts.
    pub(crate) fn body_max(mut self, bytes: usize) -> Self {
        self.router = self.router.layer(DefaultBodyLimit::max(bytes));
        self
    }

    /// Adds the routes of another collection.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.table.extend(other.table);
        self
    }

    /// What was added.
    pub(crate) fn table(self) -> Vec<Route> {
        self.table
    }

    /// The routes with the services they call.
    pub(crate) fn into_router(self, services: Services) -> Router {
        self.router.with_state(services)
    }

    fn add(mut self, method: Method, path: &str, access: Access, handler: MethodRouter<Services>) -> Self {
        self.router = self.router.route(path, handler);
        self.table.push(Route { interface: Interface::Rest, method, path: path.to_owned(), access });
        self
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn the_table_follows_from_the_handlers() {
        let routes = Routes::default()
            .get("/a", async |_: AuthenticatedDevice| StatusCode::OK)
            .merge(Routes::default().post("/a", async |_: Anybody, _: Method| StatusCode::OK));
        let table: Vec<_> = routes.table().into_iter().map(|route| (route.method, route.access)).collect();
        assert_eq!(table, [(Method::GET, Access::Device), (Method::POST, Access::Anybody)]);
    }
}
