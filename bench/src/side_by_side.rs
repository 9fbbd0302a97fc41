//! The measurements in which the server and the floor take turns: A B A B A B.
//!
//! All of them stay up for the whole part. One that is not being measured has nothing to do.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    contestant::{Contestant, System},
    online::{self, Load, OnlineResult, Pair},
    options::Options,
    report::median,
    stored::{self, Amount, StoredPlan, StoredResult},
};

/// Messages that each sender keeps under way towards recipients who are away.
pub(crate) const STORED_OUTSTANDING: usize = 16;
/// Senders to the one device of the long queue.
const QUEUE_SENDERS: usize = 16;

/// One run of one program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run<T> {
    pub(crate) round: usize,
    pub(crate) system: System,
    #[serde(flatten)]
    pub(crate) result: T,
}

/// Time to reach a steady state.
pub(crate) fn warm_up(options: &Options) -> Duration {
    Duration::from_millis(if options.quick { 200 } else { 1_000 })
}

/// How much is stored in one run of usual length.
pub(crate) fn stored_plan(options: &Options) -> StoredPlan {
    StoredPlan {
        outstanding: STORED_OUTSTANDING,
        content_len: options.size,
        warm_up: warm_up(options),
        amount: Amount::For(Duration::from_secs(options.seconds)),
    }
}

/// The server and these floors.
async fn contestants(
    options: &Options,
    floors: &[System],
    parties: usize,
) -> anyhow::Result<Vec<Contestant>> {
    let mut all = vec![Contestant::server(options, parties).await?];
    for &floor in floors {
        all.push(Contestant::floor(floor, options, parties)?);
    }
    Ok(all)
}

/// Online pairs: as many messages as can be at each number outstanding, then latencies at half of that.
pub(crate) async fn online(options: &Options) -> anyhow::Result<Vec<Run<OnlineResult>>> {
    let floors = [System::FloorSqlite, System::FloorRelay];
    let contestants = contestants(options, &floors, 2 * options.pairs).await?;
    let mut playing = Vec::new();
    for contestant in &contestants {
        playing.push((contestant, Pair::connect_all(contestant, options.pairs, options.size).await?));
    }
    let mut runs = Vec::new();
    for round in 0..options.rounds {
        for &outstanding in &options.outstanding {
            for (contestant, pairs) in &mut playing {
                let load = Load::Closed { outstanding };
                runs.push(online_run(options, contestant, pairs, load, round).await?);
            }
        }
    }
    for round in 0..options.rounds {
        for index in 0..options.rates.len().max(1) {
            for (contestant, pairs) in &mut playing {
                let given = options.rates.get(index).copied();
                let per_second = given.unwrap_or_else(|| half_of_peak(&runs, contestant.system));
                runs.push(online_run(options, contestant, pairs, Load::Open { per_second }, round).await?);
            }
        }
    }
    Ok(runs)
}

async fn online_run(
    options: &Options,
    contestant: &Contestant,
    pairs: &mut Vec<Pair>,
    load: Load,
    round: usize,
) -> anyhow::Result<Run<OnlineResult>> {
    let (system, length) = (contestant.system, Duration::from_secs(options.seconds));
    let ran = online::run(contestant.pid(), std::mem::take(pairs), load, warm_up(options), length).await;
    let (back, result) = ran.with_context(|| format!("{system:?}, {load:?}"))?;
    *pairs = back;
    Ok(Run { round, system, result })
}

/// Half of the best median over the numbers outstanding.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate fits")]
fn half_of_peak(runs: &[Run<OnlineResult>], system: System) -> u32 {
    let own = || runs.iter().filter(|run| run.system == system);
    let most = own().filter_map(|run| match run.result.load {
        Load::Closed { outstanding } => Some(outstanding),
        Load::Open { .. } => None,
    });
    let most = most.max();
    let at_most = own()
        .filter(|run| matches!(run.result.load, Load::Closed { outstanding } if Some(outstanding) == most));
    let peak = median(at_most.map(|run| run.result.per_second)).unwrap_or_default();
    (peak / 2.0).max(1.0) as u32
}

/// Messages to many who are away, each of whom then comes back.
pub(crate) async fn stored(options: &Options) -> anyhow::Result<Vec<Run<StoredResult>>> {
    let contestants = contestants(options, &[System::FloorSqlite], options.parties()).await?;
    let mut runs = Vec::new();
    for round in 0..options.rounds {
        for contestant in &contestants {
            let (senders, others) = contestant.parties.split_at(options.pairs);
            let recipients = &others[..options.recipients];
            let ran = stored::run(contestant, senders, recipients, stored_plan(options)).await;
            let result = ran.with_context(|| format!("{:?}", contestant.system))?;
            runs.push(Run { round, system: contestant.system, result });
        }
    }
    Ok(runs)
}

/// A long queue for one device, which then comes back.
pub(crate) async fn drain(options: &Options) -> anyhow::Result<Vec<Run<StoredResult>>> {
    let contestants = contestants(options, &[System::FloorSqlite], QUEUE_SENDERS + 1).await?;
    let plan = StoredPlan {
        warm_up: Duration::ZERO,
        amount: Amount::Messages(options.queue),
        ..stored_plan(options)
    };
    let mut runs = Vec::new();
    for round in 0..options.rounds {
        for contestant in &contestants {
            let (senders, recipient) = contestant.parties.split_at(QUEUE_SENDERS);
            let ran = stored::run(contestant, senders, recipient, plan).await;
            let result = ran.with_context(|| format!("{:?}", contestant.system))?;
            runs.push(Run { round, system: contestant.system, result });
        }
    }
    Ok(runs)
}
