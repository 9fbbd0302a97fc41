//! Challenges: a sender who has sent a great deal shows that it is a person before it goes on.
//!
//! Off unless there is something to answer with. Whoever sends asks [`ChallengeService::admit`]; an account
//! whose `challenge` limit is used up is told a token and the kinds of answer there are. A right answer
//! fills the limit again.

mod push;
mod service;

pub use push::{PushChallenge, PushChallengeMessage, PushChallengeTo, PushChallenges, PushUndelivered};
pub use service::{
    AnswerError, ChallengeKind, ChallengeParts, ChallengeRequired, ChallengeService, RequestPushError,
    Verdict,
};
