//! The one door: TLS, HTTP/1.1 and 2, websockets, limits, who is calling, routes.
//!
//! Signal's API has three carriers on one port: REST over HTTPS, the same REST inside the frames of a
//! websocket, and gRPC. All of them come in through [`door::Door`], run through the same router and call
//! the same services; [`signal`] has a file per resource. [`native`] is the API for people who build apps of their own,
//! `pages` is what their browsers are shown.

pub mod caller;
pub mod door;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod native;
pub mod operator;
pub mod services;
pub mod signal;
pub mod tls;

mod body;
mod counted;
mod grpc;
mod long_poll;
mod pages;
mod reply;
mod router;
mod routes;
mod scratch;
mod socket;
mod unread;

pub use door::Door;
pub use limits::GatewayConfig;
pub use listener::Listener;
pub use metrics::GatewayMetrics;
pub use operator::OperatorListener;
pub use router::route_table;
pub use routes::{Access, Interface, Route};
pub use services::Services;
