//! Challenges: `/v1/challenge` and `challenge.Challenge`, and how a send that asks for one is answered.

pub(crate) mod grpc;
pub(super) mod rest;

use crate::routes::Routes;

pub(super) fn routes() -> Routes {
    Routes::default().put("/v1/challenge", rest::answer).post("/v1/challenge/push", rest::request_push)
}
