//! The one door: TLS, HTTP, websockets, limits, authentication, routes.
