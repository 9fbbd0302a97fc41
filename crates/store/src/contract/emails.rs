//! What every [`EmailStore`] must do.

#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{sync::Arc, time::Duration};

use auth::{
    mail::MailAddress,
    native::{
        EmailStore,
        email::{
            NewcomerEmail,
            code::{MailCode, MailCodeHash, Purpose},
            store::{ConfirmOutcome, EmailWish, NewReset, PROOFS_MAX, RESETS_MAX, ResetOf, ResetTarget},
        },
        store::{ChangePasswordOutcome, NewNativeAccount, RegisterNativeOutcome},
    },
};
use protocol::{
    DeviceId,
    ambient::{SeededEntropy, Timestamp},
};

use super::native::{NOW, Stores, account, aci, hash, name, session};

const HOUR: Duration = Duration::from_hours(1);
const LATER: Timestamp = Timestamp::from_millis(NOW.as_millis() + 3_600_000);

fn address(text: &str) -> MailAddress {
    format!("{text}@example.org").parse().unwrap()
}

fn code(seed: u64, purpose: Purpose) -> MailCodeHash {
    MailCode::random(&SeededEntropy::new(seed)).hash(purpose)
}

fn wish(text: &str, seed: u64) -> EmailWish {
    EmailWish { address: address(text), code: code(seed, Purpose::Address), at: NOW, expires: LATER }
}

fn proof(text: &str, seed: u64) -> EmailWish {
    EmailWish { code: code(seed, Purpose::Registration), ..wish(text, seed) }
}

/// One store seen through each of its traits.
struct Suite {
    stores: Stores,
    emails: Arc<dyn EmailStore>,
}

/// Runs the whole suite; `open` opens the same store anew, as after a restart.
pub async fn run<F, R>(open: F)
where
    F: Fn() -> R,
    R: Future<Output = (Stores, Arc<dyn EmailStore>)>,
{
    let (stores, emails) = open().await;
    let suite = Suite { stores, emails };
    suite.confirms_what_was_wished_for().await;
    suite.gives_an_address_to_one().await;
    suite.begins_an_account_with_an_address().await;
    suite.proves_an_address_once().await;
    suite.bounds_codes_and_forgets_them().await;
    suite.resets_a_password_once().await;
    suite.voids_resets_for_former_passwords_and_addresses().await;
    suite.lets_one_of_many_reset().await;
    suite.forgets_addresses_with_the_account().await;
    suite.with_address(90, "kept", 9000).await;
    drop(suite);
    let (_, emails) = open().await;
    assert_eq!(emails.email_owner(&address("kept")).await.unwrap(), Some(aci(90)));
}

impl Suite {
    async fn register(&self, number: u8, email: Option<NewcomerEmail>) -> RegisterNativeOutcome {
        let new = NewNativeAccount { email, ..account(number, None) };
        self.stores.native.register(new).await.unwrap()
    }

    /// Registers an account with a confirmed address.
    async fn with_address(&self, number: u8, text: &str, seed: u64) {
        self.register(number, Some(NewcomerEmail::Wished(wish(text, seed)))).await;
        self.confirm(number, seed).await;
    }

    async fn confirm(&self, number: u8, seed: u64) -> ConfirmOutcome {
        self.emails.confirm_email(aci(number), code(seed, Purpose::Address), NOW).await.unwrap()
    }

    async fn addresses(&self, number: u8) -> (Option<MailAddress>, Option<MailAddress>) {
        let state = self.emails.email(aci(number), NOW).await.unwrap();
        (state.confirmed, state.wished.map(|(address, _)| address))
    }

    async fn target(&self, number: u8) -> Option<ResetTarget> {
        self.emails.reset_target(&ResetOf::Username(name(number))).await.unwrap()
    }

    async fn add_reset(&self, target: ResetTarget, seed: u64, expires: Timestamp) -> bool {
        let reset = NewReset { target, code: code(seed, Purpose::Reset), expires };
        self.emails.add_reset(reset).await.unwrap()
    }

    async fn is_reset(&self, seed: u64) -> bool {
        self.emails.reset(code(seed, Purpose::Reset), NOW).await.unwrap().is_some()
    }

    async fn confirms_what_was_wished_for(&self) {
        self.register(1, None).await;
        assert_eq!(self.addresses(1).await, (None, None));
        assert!(self.emails.wish(aci(1), wish("ann", 1)).await.unwrap());
        assert_eq!(self.addresses(1).await, (None, Some(address("ann"))));
        assert!(self.target(1).await.is_none(), "it does not count yet");
        assert_eq!(self.confirm(1, 2).await, ConfirmOutcome::WrongCode);
        let late = self.emails.confirm_email(aci(1), code(1, Purpose::Address), LATER).await.unwrap();
        assert_eq!(late, ConfirmOutcome::WrongCode);
        let other = self.emails.confirm_email(aci(2), code(1, Purpose::Address), NOW).await.unwrap();
        assert_eq!(other, ConfirmOutcome::WrongCode, "another account");
        assert_eq!(self.confirm(1, 1).await, ConfirmOutcome::Confirmed { former: None });
        assert_eq!(self.confirm(1, 1).await, ConfirmOutcome::WrongCode, "used");
        assert_eq!(self.addresses(1).await, (Some(address("ann")), None));
        // Another takes its place once it is confirmed, and a later wish that of an earlier.
        self.emails.wish(aci(1), wish("second", 3)).await.unwrap();
        self.emails.wish(aci(1), wish("third", 4)).await.unwrap();
        assert_eq!(self.addresses(1).await, (Some(address("ann")), Some(address("third"))));
        assert_eq!(self.confirm(1, 3).await, ConfirmOutcome::WrongCode);
        let former = Some(address("ann"));
        assert_eq!(self.confirm(1, 4).await, ConfirmOutcome::Confirmed { former });
        assert_eq!(self.emails.email_owner(&address("ann")).await.unwrap(), None);
        self.emails.wish(aci(1), wish("third", 5)).await.unwrap();
        assert_eq!(self.confirm(1, 5).await, ConfirmOutcome::Confirmed { former: None }, "the same");
        self.emails.wish(aci(1), wish("fourth", 6)).await.unwrap();
        assert_eq!(self.emails.remove_email(aci(1)).await.unwrap(), Some(address("third")));
        assert_eq!(self.addresses(1).await, (None, None));
        assert_eq!(self.emails.remove_email(aci(1)).await.unwrap(), None);
        assert!(!self.emails.wish(aci(99), wish("nobody", 7)).await.unwrap(), "no such account");
    }

    async fn gives_an_address_to_one(&self) {
        for number in 10..14 {
            let seed = u64::from(number) * 10;
            self.register(number, Some(NewcomerEmail::Wished(wish("shared", seed)))).await;
        }
        let tries = (10..14_u8).map(|number| {
            let emails = Arc::clone(&self.emails);
            let code = code(u64::from(number) * 10, Purpose::Address);
            tokio::spawn(async move { emails.confirm_email(aci(number), code, NOW).await.unwrap() })
        });
        let mut confirmed = 0;
        for outcome in tries.collect::<Vec<_>>() {
            confirmed += usize::from(outcome.await.unwrap() != ConfirmOutcome::WrongCode);
        }
        assert_eq!(confirmed, 1);
        let owner = self.emails.email_owner(&address("shared")).await.unwrap().unwrap();
        let found = self.emails.reset_target(&ResetOf::Address(address("shared"))).await.unwrap();
        assert_eq!(found.unwrap().aci, owner);
        self.emails.remove_email(owner).await.unwrap();
        let next = if owner == aci(10) { 11 } else { 10 };
        self.emails.wish(aci(next), wish("shared", 500)).await.unwrap();
        assert_eq!(self.confirm(next, 500).await, ConfirmOutcome::Confirmed { former: None }, "it is free");
    }

    async fn begins_an_account_with_an_address(&self) {
        self.emails.add_proof(proof("new", 200)).await.unwrap();
        let proved = |text: &str, seed| Some(NewcomerEmail::Proved(proof(text, seed)));
        for (email, why) in [
            (proved("other", 200), "for another address"),
            (proved("new", 201), "no such code"),
            (Some(NewcomerEmail::Proved(wish("new", 200))), "for something else"),
        ] {
            assert_eq!(self.register(20, email).await, RegisterNativeOutcome::NotProved, "{why}");
        }
        let late = EmailWish { at: LATER, ..proof("new", 200) };
        let outcome = self.register(20, Some(NewcomerEmail::Proved(late))).await;
        assert_eq!(outcome, RegisterNativeOutcome::NotProved, "over");
        assert!(self.target(20).await.is_none(), "and no account is there");
        assert_eq!(self.register(1, proved("new", 200)).await, RegisterNativeOutcome::UsernameTaken);
        // A name that is taken does not use the code up.
        assert_eq!(self.register(20, proved("new", 200)).await, RegisterNativeOutcome::Registered);
        assert_eq!(self.addresses(20).await, (Some(address("new")), None));
        assert_eq!(self.register(21, proved("new", 200)).await, RegisterNativeOutcome::NotProved, "used");
    }

    async fn proves_an_address_once(&self) {
        let is_proof = async |text: &str, seed| {
            let code = code(seed, Purpose::Registration);
            self.emails.is_proof(&address(text), code, NOW).await.unwrap()
        };
        for seed in 300..=300 + u64::from(PROOFS_MAX) {
            let expires = LATER.saturating_add(Duration::from_millis(seed));
            self.emails.add_proof(EmailWish { expires, ..proof("eve", seed) }).await.unwrap();
        }
        assert!(!is_proof("eve", 300).await, "the oldest is void");
        assert!(is_proof("eve", 301).await && is_proof("eve", 302).await);
        assert!(!is_proof("ann", 301).await);
        let email = Some(NewcomerEmail::Proved(proof("eve", 302)));
        assert_eq!(self.register(30, email).await, RegisterNativeOutcome::Registered);
        assert!(!is_proof("eve", 301).await, "the others are void");
        // A code for an address that is somebody's by now.
        self.emails.add_proof(proof("eve", 310)).await.unwrap();
        assert!(!is_proof("eve", 310).await);
    }

    async fn bounds_codes_and_forgets_them(&self) {
        self.with_address(40, "dave", 400).await;
        let target = self.target(40).await.unwrap();
        for seed in 401..=401 + u64::from(RESETS_MAX) {
            let expires = LATER.saturating_add(Duration::from_millis(seed));
            assert!(self.add_reset(target.clone(), seed, expires).await);
        }
        assert!(!self.is_reset(401).await, "the oldest is void");
        assert!(self.is_reset(402).await && self.is_reset(406).await);
        let over = code(402, Purpose::Reset);
        assert!(self.emails.reset(over, LATER.saturating_add(HOUR)).await.unwrap().is_none());
        assert!(
            self.emails.remove_expired_codes(LATER.saturating_add(HOUR)).await.unwrap()
                >= RESETS_MAX as usize
        );
        assert_eq!(self.emails.remove_expired_codes(LATER.saturating_add(HOUR)).await.unwrap(), 0);
        assert!(!self.is_reset(402).await);
    }

    async fn resets_a_password_once(&self) {
        self.with_address(50, "bob", 510).await;
        let target = self.target(50).await.unwrap();
        let by_address = self.emails.reset_target(&ResetOf::Address(address("bob"))).await.unwrap();
        assert_eq!(by_address.as_ref(), Some(&target));
        assert_eq!((&target.username, &target.address), (&name(50), &address("bob")));
        assert!(self.add_reset(target.clone(), 511, LATER).await);
        assert!(self.add_reset(target.clone(), 512, LATER).await);
        let reset = async |seed, now| {
            self.emails.reset_password(code(seed, Purpose::Reset), hash(7), now).await.unwrap()
        };
        assert!(reset(513, NOW).await.is_none() && reset(511, LATER).await.is_none());
        let done = reset(511, NOW).await.unwrap();
        assert_eq!((done.target, done.devices), (target, vec![DeviceId::PRIMARY]));
        let login = self.stores.native.login_of(aci(50)).await.unwrap().unwrap();
        assert_eq!((login.password, login.version), (hash(7), 2));
        assert!(self.stores.native.session(session(5000).id, NOW).await.unwrap().is_none());
        assert!(reset(511, NOW).await.is_none() && reset(512, NOW).await.is_none(), "used up, all of them");
    }

    async fn voids_resets_for_former_passwords_and_addresses(&self) {
        self.with_address(60, "carol", 600).await;
        let target = self.target(60).await.unwrap();
        assert!(self.add_reset(target.clone(), 601, LATER).await);
        let changed = self.stores.native.change_password(aci(60), 1, hash(2), None).await.unwrap();
        assert!(matches!(changed, ChangePasswordOutcome::Changed(_)));
        assert!(!self.is_reset(601).await, "another password");
        assert!(!self.add_reset(target, 602, LATER).await, "asked for before");
        let target = self.target(60).await.unwrap();
        assert!(self.add_reset(target.clone(), 603, LATER).await);
        self.emails.wish(aci(60), wish("carol2", 604)).await.unwrap();
        assert!(self.is_reset(603).await, "a wish changes nothing");
        self.confirm(60, 604).await;
        assert!(!self.is_reset(603).await, "another address");
        assert!(!self.add_reset(target, 605, LATER).await);
        let target = self.target(60).await.unwrap();
        assert!(self.add_reset(target, 606, LATER).await);
        self.emails.remove_email(aci(60)).await.unwrap();
        assert!(!self.is_reset(606).await, "no address");
    }

    async fn lets_one_of_many_reset(&self) {
        self.with_address(70, "many", 700).await;
        let target = self.target(70).await.unwrap();
        assert!(self.add_reset(target, 701, LATER).await);
        let tries = (0..8).map(|digit| {
            let emails = Arc::clone(&self.emails);
            let code = code(701, Purpose::Reset);
            tokio::spawn(async move { emails.reset_password(code, hash(digit), NOW).await.unwrap() })
        });
        let mut done = 0;
        for outcome in tries.collect::<Vec<_>>() {
            done += usize::from(outcome.await.unwrap().is_some());
        }
        assert_eq!(done, 1);
    }

    async fn forgets_addresses_with_the_account(&self) {
        self.with_address(80, "gone", 800).await;
        self.emails.wish(aci(80), wish("soon", 801)).await.unwrap();
        let target = self.target(80).await.unwrap();
        assert!(self.add_reset(target, 802, LATER).await);
        assert!(self.stores.accounts.delete(aci(80), NOW).await.unwrap());
        assert_eq!(self.emails.email_owner(&address("gone")).await.unwrap(), None);
        assert_eq!(self.addresses(80).await, (None, None));
        assert!(!self.is_reset(802).await);
    }
}
