//! Fetches one account's one-time keys, and refills them: none may be handed out twice.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use testkit::{Account, Call, HttpVersion, Https, KeySet};
use tokio::{sync::watch, time::sleep};

use crate::{Control, Stage, ledger::Ledger};

const BATCH: u32 = 50;
const KEM_BATCH: u32 = 10;
/// One-time keys have ids from here on, so that the last-resort key can be told from them.
const FIRST_ID: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(3);

/// Keys that were handed out, of both kinds.
#[derive(Debug, Default)]
struct HandedOut {
    ec: HashSet<u64>,
    kem: HashSet<u64>,
}

/// The account whose keys are fetched.
pub(crate) struct Owner {
    pub(crate) account: Account,
    pub(crate) keys: KeySet,
}

pub(crate) async fn run(
    fetching: Account,
    owner: Owner,
    ledger: Arc<Ledger>,
    mut control: watch::Receiver<Control>,
) -> anyhow::Result<()> {
    let mut fetcher =
        Fetcher { fetching, owner, ledger, handed_out: HandedOut::default(), next_id: FIRST_ID };
    while control.borrow().stage == Stage::Load {
        let Some(target) = control.borrow_and_update().target.clone() else {
            control.changed().await?;
            continue;
        };
        if let Ok(mut https) = Https::connect(&target, HttpVersion::Http1).await {
            while control.borrow().stage == Stage::Load && fetcher.fetch(&mut https).await.is_ok() {
                sleep(PAUSE).await;
            }
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

struct Fetcher {
    fetching: Account,
    owner: Owner,
    ledger: Arc<Ledger>,
    handed_out: HandedOut,
    next_id: u32,
}

impl Fetcher {
    /// Fetches once, and refills when there was no one-time key left. An error ends the connection.
    async fn fetch(&mut self, https: &mut Https) -> anyhow::Result<()> {
        let call = Call::get(format!("/v2/keys/{}/*", self.owner.account.aci)).auth(&self.fetching);
        let bundle = https.send(call).await?.success()?.json()?;
        let device = &bundle["devices"][0];
        let ec = device["preKey"]["keyId"].as_u64();
        let kem = device["pqPreKey"]["keyId"].as_u64().filter(|id| *id >= u64::from(FIRST_ID));
        for (id, known) in [(ec, &mut self.handed_out.ec), (kem, &mut self.handed_out.kem)] {
            if id.is_some_and(|id| !known.insert(id)) {
                self.ledger.fault(format!("one-time key {id:?} was handed out twice"));
            }
        }
        self.ledger.keys_fetched.fetch_add(1, Ordering::Relaxed);
        if ec.is_none() {
            let body = self.owner.keys.one_time_keys(self.next_id, BATCH, KEM_BATCH);
            self.next_id += BATCH;
            https.send(Call::put("/v2/keys").auth(&self.owner.account).json(&body)).await?.success()?;
        }
        Ok(())
    }
}
