//! The same work on a small store, on one with many accounts, and on one with many messages, by turns.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use testkit::Server;

use crate::{
    contestant::{Contestant, registered, server_options, stop},
    online::{self, Load, OnlineResult, Pair},
    options::Options,
    seed,
    side_by_side::{stored_plan, warm_up},
    starting::millis,
    stored::{self, StoredResult},
};

/// Accounts of the stores that are not about accounts.
const FEW_ACCOUNTS: u64 = 1_000;

/// What the store holds besides the accounts that work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Holding {
    Little,
    ManyAccounts,
    ManyMessages,
}

/// One run on one store.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GrowthRun {
    pub(crate) round: usize,
    pub(crate) holding: Holding,
    pub(crate) accounts: u64,
    pub(crate) messages: u64,
    pub(crate) ready_ms: f64,
    pub(crate) online: OnlineResult,
    pub(crate) stored: StoredResult,
}

/// A server on a store of that kind.
struct Grown {
    holding: Holding,
    accounts: u64,
    messages: u64,
    ready_ms: f64,
    contestant: Contestant,
}

/// Measures the three stores by turns.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<Vec<GrowthRun>> {
    let mut stores = Vec::new();
    for holding in [Holding::Little, Holding::ManyAccounts, Holding::ManyMessages] {
        stores
            .push(Grown::make(options, holding).await.with_context(|| format!("a store with {holding:?}"))?);
    }
    let mut runs = Vec::new();
    for round in 0..options.rounds {
        for store in &stores {
            runs.push(store.run(options, round).await.with_context(|| format!("{:?}", store.holding))?);
        }
    }
    Ok(runs)
}

impl Grown {
    async fn make(options: &Options, holding: Holding) -> anyhow::Result<Self> {
        let mut server = Server::start(server_options(options)).await?;
        let own = registered(&server, options.parties()).await?;
        let accounts = if holding == Holding::ManyAccounts { options.many_accounts } else { FEW_ACCOUNTS };
        let messages = if holding == Holding::ManyMessages { options.many_messages } else { 0 };
        stop(&mut server).await?;
        let (data, more) = (server.data(), accounts.saturating_sub(own.len() as u64));
        tokio::task::spawn_blocking(move || {
            seed::accounts(&data, more)?;
            if messages > 0 { seed::messages(&data, messages) } else { Ok(()) }
        })
        .await??;
        server.restart().await?;
        let ready_ms = millis(server.ready_after());
        Ok(Self { holding, accounts, messages, ready_ms, contestant: Contestant::of_server(server, own) })
    }

    async fn run(&self, options: &Options, round: usize) -> anyhow::Result<GrowthRun> {
        let contestant = &self.contestant;
        let pairs = Pair::connect_all(contestant, options.pairs, options.size).await?;
        let load = Load::Closed { outstanding: options.outstanding.iter().copied().max().unwrap_or(1) };
        let length = Duration::from_secs(options.seconds);
        let (pairs, online) =
            online::run(contestant.pid(), pairs, load, warm_up(options), length).await.context("online")?;
        drop(pairs);
        let (senders, others) = contestant.parties.split_at(options.pairs);
        let recipients = &others[..options.recipients];
        let stored =
            stored::run(contestant, senders, recipients, stored_plan(options)).await.context("stored")?;
        Ok(GrowthRun {
            round,
            holding: self.holding,
            accounts: self.accounts,
            messages: self.messages,
            ready_ms: self.ready_ms,
            online,
            stored,
        })
    }
}
