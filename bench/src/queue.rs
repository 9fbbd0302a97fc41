//! What a message costs in memory that lies in a queue: nothing, for queues live on disk.

use serde::Serialize;
use testkit::process::{self, Memory};

use crate::{
    contestant::Contestant,
    meter::float,
    options::Options,
    side_by_side::stored_plan,
    stored::{Amount, Store, StoredPlan},
};

/// Stored before the first look, in multiples of `--queue`: by then the server has the memory that storing
/// needs at all.
const BEFORE: u64 = 1;
/// Stored between the looks, likewise.
const BETWEEN: u64 = 3;

/// Memory for messages in queues.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QueueResult {
    pub(crate) messages_before: u64,
    pub(crate) messages_after: u64,
    pub(crate) before: Memory,
    pub(crate) after: Memory,
    pub(crate) bytes_per_message: f64,
}

/// Stores, looks, stores more on the same connections, and looks again.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<QueueResult> {
    let contestant = Contestant::server(options, options.parties()).await?;
    let (senders, others) = contestant.parties.split_at(options.pairs);
    let recipients = &others[..options.recipients];
    let plan = |messages| StoredPlan { amount: Amount::Messages(messages), ..stored_plan(options) };
    let mut store = Store::begin(&contestant, senders, recipients, plan(BEFORE * options.queue)).await?;
    let (messages_before, before) = (store.accepted(), process::memory(contestant.pid())?);
    let all = (BEFORE + BETWEEN) * options.queue;
    store.go_on(contestant.pid(), plan(all)).await?;
    let (messages_after, after) = (store.accepted(), process::memory(contestant.pid())?);
    let growth = (float(after.rss_kib) - float(before.rss_kib)) * 1024.0;
    Ok(QueueResult {
        messages_before,
        messages_after,
        before,
        after,
        bytes_per_message: growth / float((messages_after - messages_before).max(1)),
    })
}
