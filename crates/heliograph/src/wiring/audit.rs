//! The audit trail as services know it, brought to the audit log as it is kept.

use std::{net::IpAddr, sync::Arc};

use ::audit::{
    Recorder,
    address::{AddressPolicy, Networks},
    record::{Entry, Text},
};
use async_trait::async_trait;
use auth::audit::{Action, AuditEvent, AuditTrail, Party};
use protocol::{
    DeviceAddress,
    ambient::{Clock, StorageError},
};
use vault::Vault;

use crate::config::Config;

/// Bytes of a blind index that stand for a number or a name: enough to tell people apart.
const INDEX_LEN: usize = 16;

/// Puts events into the form in which they are kept: numbers and names as blind indexes, addresses shortened.
pub(crate) struct Trail {
    recorder: Recorder,
    form: Form,
    networks: Networks<DeviceAddress>,
}

/// How events become records.
#[derive(Clone)]
pub(crate) struct Form {
    vault: Vault,
    addresses: AddressPolicy,
    clock: Arc<dyn Clock>,
    /// Who the operator is on this machine.
    user: u32,
}

impl Form {
    /// As that configuration has it.
    pub(crate) fn new(config: &Config, vault: &Vault, clock: Arc<dyn Clock>) -> Self {
        let user = rustix::process::getuid().as_raw();
        Self { vault: vault.clone(), addresses: config.audit.addresses(), clock, user }
    }
}

impl Trail {
    pub(crate) fn new(recorder: Recorder, form: Form) -> Self {
        let networks = Networks::new(form.addresses);
        Self { recorder, form, networks }
    }
}

#[async_trait]
impl AuditTrail for Trail {
    fn ready(&self) -> Result<(), StorageError> {
        self.recorder.ready()
    }

    fn signed_in(&self, device: DeviceAddress, first_today: bool) {
        let peer = auth::audit::peer();
        // Asked in any case, so that the network is known the next time.
        let elsewhere = peer.is_some_and(|peer| self.networks.changed(device, peer));
        if first_today {
            self.recorder.write_soon(self.form.entry(&Action::SignIn.by(device)));
        } else if elsewhere {
            self.recorder.note(self.form.entry(&Action::SignIn.by(device)));
        }
    }

    async fn record(&self, event: AuditEvent) {
        let entry = self.form.entry(&event);
        if event.is_change() {
            self.recorder.write(entry).await;
        } else {
            self.recorder.note(entry);
        }
    }
}

impl Form {
    /// The record of an event that happens now.
    pub(crate) fn entry(&self, event: &AuditEvent) -> Entry {
        let AuditEvent { by, action, on, outcome, detail, peer } = event;
        Entry {
            at: self.clock.now(),
            since: None,
            count: 1,
            by: self.party(by),
            action: action.name().into(),
            on: on.as_ref().map(|on| self.party(on)),
            outcome: outcome.name().into(),
            detail: detail.map(|detail| detail.name().into()),
            network: peer.and_then(|peer: IpAddr| self.addresses.network(peer)).map(Text::from),
        }
    }

    fn party(&self, party: &Party) -> Text {
        match party {
            Party::Account(aci) => format!("account:{aci}").into(),
            Party::Device(DeviceAddress { aci, device_id }) => format!("device:{aci}.{device_id}").into(),
            Party::NumberIdentity(pni) => format!("pni:{pni}").into(),
            Party::Number(number) => format!("number:{}", self.index("audit.number", number.as_str())).into(),
            Party::Name(name) => format!("name:{}", self.index("audit.name", name)).into(),
            Party::Session(id) => format!("session:{id}").into(),
            Party::Invite(id) => format!("invite:{id}").into(),
            Party::Key(number) => format!("key:{number}").into(),
            Party::Operator => format!("operator:{}", self.user).into(),
            Party::Server => "server".into(),
            Party::Stranger => "stranger".into(),
        }
    }

    fn index(&self, domain: &str, text: &str) -> String {
        let index = self.vault.index(domain, text.as_bytes());
        hex::encode(&index[..INDEX_LEN])
    }
}
