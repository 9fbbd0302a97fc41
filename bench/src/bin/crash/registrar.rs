//! Registers accounts and uploads keys without pause, and checks that they are still there.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::StatusCode;
use rand::{
    RngExt as _, SeedableRng as _,
    rngs::{SmallRng, StdRng},
};
use testkit::{
    Call, HttpVersion, Https, KeySet, Outbox, Target,
    account::{register_over, test_number},
};
use tokio::{sync::watch, time::sleep};

use crate::{
    Control, Stage,
    ledger::{Ledger, Registered},
};

/// Numbers from here on are the registrar's.
const FIRST_NUMBER: usize = 1_000_000;
const PAUSE: Duration = Duration::from_millis(10);
/// Older accounts that are looked at again after each restart.
const OLD_CHECKED: usize = 20;

pub(crate) async fn run(
    ledger: Arc<Ledger>,
    outbox: Arc<Outbox>,
    mut control: watch::Receiver<Control>,
    seed: u64,
) -> anyhow::Result<()> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let keys = (KeySet::generate(), KeySet::generate());
    let mut number = FIRST_NUMBER;
    while control.borrow().stage == Stage::Load {
        let Some(target) = control.borrow_and_update().target.clone() else {
            control.changed().await?;
            continue;
        };
        if let Ok(mut https) = Https::connect(&target, HttpVersion::Http2).await {
            // Ends with the connection: whatever was under way then may have happened or not.
            while control.borrow().stage == Stage::Load
                && register_one(&ledger, &outbox, &mut https, &keys, &mut number, &mut rng).await.is_ok()
            {
                sleep(PAUSE).await;
            }
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

async fn register_one(
    ledger: &Ledger,
    outbox: &Outbox,
    https: &mut Https,
    keys: &(KeySet, KeySet),
    number: &mut usize,
    rng: &mut SmallRng,
) -> anyhow::Result<()> {
    *number += 1;
    let account = register_over(outbox, https, &test_number(*number), (&keys.0, &keys.1)).await?;
    let (ec, kem) = (rng.random_range(1..20), rng.random_range(1..5));
    let upload = Call::put("/v2/keys").auth(&account).json(&keys.0.one_time_keys(1, ec, kem));
    let index = {
        let mut registered = ledger.registered.lock();
        registered.push(Registered { account, keys: None, unsure: true });
        registered.len() - 1
    };
    let answer = https.send(upload).await?;
    if answer.status.is_success() {
        let entry = &mut ledger.registered.lock()[index];
        entry.keys = Some((ec, kem));
        entry.unsure = false;
    } else if answer.status.is_server_error() {
        ledger.refused.fetch_add(1, Ordering::Relaxed);
    } else {
        ledger.fault(format!("a key upload was answered with {}", answer.status));
    }
    Ok(())
}

/// Every account whose registration was answered since the last look, and some older ones.
pub(crate) async fn check(ledger: &Ledger, target: &Target, rng: &mut StdRng) -> anyhow::Result<()> {
    let chosen: Vec<Registered> = {
        let all = ledger.registered.lock();
        let (old, new) = all.split_at(all.len() - ledger.new_accounts(all.len()));
        let old = (0..OLD_CHECKED.min(old.len())).map(|_| &old[rng.random_range(0..old.len())]);
        new.iter().chain(old).cloned().collect()
    };
    if chosen.is_empty() {
        return Ok(());
    }
    let mut https = Https::connect(target, HttpVersion::Http2).await?;
    for Registered { account, keys, unsure } in chosen {
        let answer = https.send(Call::get("/v1/accounts/whoami").auth(&account)).await?;
        if answer.status != StatusCode::OK || answer.json()?["uuid"] != account.aci.to_string() {
            ledger.fault(format!("a registered account is gone: whoami answers {}", answer.status));
            continue;
        }
        let answer = https.send(Call::get("/v2/keys").auth(&account)).await?.success()?.json()?;
        let found = (answer["count"].as_u64(), answer["pqCount"].as_u64());
        let wanted = keys.unwrap_or_default();
        if !unsure && found != (Some(wanted.0.into()), Some(wanted.1.into())) {
            ledger.fault(format!("uploaded keys are gone: {found:?} of {wanted:?}"));
        }
    }
    Ok(())
}
