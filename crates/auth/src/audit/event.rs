//! What an event says.

use std::{fmt, net::IpAddr};

use protocol::{Aci, DeviceAddress, PhoneNumber, Pni};
use uuid::Uuid;

use super::origin;

/// Something that happened: who did what to whom, how it went, and from where. When it was is added by the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who did it, or said to be the one.
    pub by: Party,
    /// What was done.
    pub action: Action,
    /// To whom or what, where that is not who did it.
    pub on: Option<Party>,
    /// How it went.
    pub outcome: Outcome,
    /// Which kind of the action, or why it was refused.
    pub detail: Option<Detail>,
    /// From where: the address of the connection. The trail shortens it as configured before it is written.
    pub peer: Option<IpAddr>,
}

/// Somebody or something in an event.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Party {
    /// An account.
    Account(Aci),
    /// A device of an account.
    Device(DeviceAddress),
    /// The identity of an account's number.
    NumberIdentity(Pni),
    /// Who holds or claims a number. Written as a blind index.
    Number(PhoneNumber),
    /// A username or an e-mail address, as normalised for looking it up. Written as a blind index.
    Name(String),
    /// A session of the native API.
    Session(Uuid),
    /// An invitation, by its public id.
    Invite(Uuid),
    /// A key of the server, by the number that commands show.
    Key(u64),
    /// Whoever may run commands on the server's machine.
    Operator,
    /// The server by itself, as when something expires.
    Server,
    /// Nobody in particular.
    Stranger,
}

/// How an action went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused: the one who asked lacks something, or is not who they say.
    Refused,
    /// It failed on our side.
    Failed,
}

/// Names an enum's variants for what is written; a name never changes its meaning.
macro_rules! named {
    (
        $(#[$about:meta])*
        $enum:ident { $( $(#[$doc:meta])* $variant:ident = $name:literal, )* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $( $(#[$doc])* $variant, )*
        }

        impl $enum {
            /// Every one there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in the trail.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

named! {
    /// What was done. Add what is missing; a name that is in use stays.
    Action {
        /// An account came to be.
        Register = "register",
        /// An account passed to a new primary device.
        Reregister = "reregister",
        /// A phone number or an e-mail address was to be proved: a code was handed in.
        Verify = "verify",
        /// A code or link was sent to prove a number or an address.
        SendCode = "send_code",
        /// A recovery password was used.
        UseRecoveryPassword = "use_recovery_password",
        /// The token of a registration lock was asked for.
        PassRegistrationLock = "pass_registration_lock",
        /// A registration lock was set or taken away.
        ChangeRegistrationLock = "change_registration_lock",
        /// A recovery password was set.
        ChangeRecoveryPassword = "change_recovery_password",
        /// A device showed its password. Successes once for each device, address and day.
        SignIn = "sign_in",
        /// A person showed a password or a passkey.
        LogIn = "log_in",
        /// Somebody who is logged in showed again who they are, before changing by what they log in.
        Reauthenticate = "reauthenticate",
        /// A session was ended by its owner.
        LogOut = "log_out",
        /// A refresh token was exchanged.
        RefreshToken = "refresh_token",
        /// A refresh token that was used before was shown again; its family is revoked.
        ReuseToken = "reuse_token",
        /// A session was revoked.
        RevokeSession = "revoke_session",
        /// A second factor was shown.
        UseSecondFactor = "use_second_factor",
        /// A second factor was added.
        AddSecondFactor = "add_second_factor",
        /// A second factor was removed.
        RemoveSecondFactor = "remove_second_factor",
        /// Recovery codes were made anew.
        RenewRecoveryCodes = "renew_recovery_codes",
        /// A password was changed by its owner.
        ChangePassword = "change_password",
        /// The reset of a password was asked for.
        RequestPasswordReset = "request_password_reset",
        /// A password was reset.
        ResetPassword = "reset_password",
        /// An account moved to another number.
        ChangeNumber = "change_number",
        /// An e-mail address was set or removed.
        ChangeEmail = "change_email",
        /// An account was deleted.
        DeleteAccount = "delete_account",
        /// A code was made by which a device can be linked.
        OfferLinkCode = "offer_link_code",
        /// A device was linked.
        LinkDevice = "link_device",
        /// A device was removed.
        RemoveDevice = "remove_device",
        /// An identity key, a signed pre-key or a last-resort pre-key was replaced.
        ChangeKeys = "change_keys",
        /// An invitation was made.
        CreateInvite = "create_invite",
        /// An invitation was used.
        UseInvite = "use_invite",
        /// An invitation was taken back.
        RevokeInvite = "revoke_invite",
        /// Somebody asked to be let in and waits for the operator.
        RequestRegistration = "request_registration",
        /// The operator let somebody in.
        ApproveRegistration = "approve_registration",
        /// The operator turned somebody away.
        RefuseRegistration = "refuse_registration",
        /// The operator looked at codes that wait to be passed on.
        ShowCodes = "show_codes",
        /// Where pushes reach a device was set or taken away by the operator.
        ChangePushTarget = "change_push_target",
        /// A key of the server was replaced.
        RotateKey = "rotate_key",
        /// Secrets and stores were made.
        Initialise = "initialise",
        /// The server began to take requests.
        StartServer = "start_server",
        /// The server stopped by itself.
        StopServer = "stop_server",
    }
}

named! {
    /// Which kind of an action, or why it was refused. Add what is missing; a name that is in use stays.
    Detail {
        /// The credentials are wrong, or nobody has them.
        WrongCredentials = "wrong_credentials",
        /// The code is wrong.
        WrongCode = "wrong_code",
        /// It was shown before.
        Replayed = "replayed",
        /// It is over.
        Expired = "expired",
        /// It was revoked.
        Revoked = "revoked",
        /// It was missing.
        Missing = "missing",
        /// Too often.
        RateLimited = "rate_limited",
        /// A signature or a form is wrong.
        Malformed = "malformed",
        /// The registration policy.
        Policy = "policy",
        /// The operator has not decided yet.
        Pending = "pending",
        /// Not allowed to this caller.
        NotPermitted = "not_permitted",
        /// By a verification session.
        Session = "session",
        /// By a recovery password.
        RecoveryPassword = "recovery_password",
        /// By an invitation.
        Invite = "invite",
        /// By a password.
        Password = "password",
        /// By a time-based one-time password.
        Totp = "totp",
        /// By a recovery code.
        RecoveryCode = "recovery_code",
        /// By a passkey.
        Passkey = "passkey",
        /// By e-mail.
        Email = "email",
        /// By text message.
        Sms = "sms",
        /// By a call.
        Voice = "voice",
        /// By Signal's API.
        SignalApi = "signal_api",
        /// By the native API.
        NativeApi = "native_api",
        /// A signed pre-key.
        SignedPreKey = "signed_pre_key",
        /// A pre-key that is given out when no one-time pre-key is left.
        LastResortPreKey = "last_resort_pre_key",
        /// An identity key.
        IdentityKey = "identity_key",
        /// The key of access tokens.
        TokenKey = "token_key",
        /// The server certificate under which sender certificates are issued.
        SenderCertificate = "sender_certificate",
        /// The trust root of sender certificates.
        SenderTrustRoot = "sender_trust_root",
        /// Set.
        Set = "set",
        /// Cleared.
        Cleared = "cleared",
        /// All of them.
        All = "all",
    }
}

impl Outcome {
    /// The name in the trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Action {
    /// That somebody did it.
    pub fn by(self, by: impl Into<Party>) -> AuditEvent {
        self.event(by.into(), Outcome::Success)
    }

    /// That somebody wanted to and was refused.
    pub fn refused(self, by: impl Into<Party>) -> AuditEvent {
        self.event(by.into(), Outcome::Refused)
    }

    /// That somebody might have, and it failed on our side.
    pub fn failed(self, by: impl Into<Party>) -> AuditEvent {
        self.event(by.into(), Outcome::Failed)
    }

    fn event(self, by: Party, outcome: Outcome) -> AuditEvent {
        AuditEvent { by, action: self, on: None, outcome, detail: None, peer: origin::peer() }
    }
}

impl AuditEvent {
    /// Whether it tells of a change that was made, which is on disk before the one who asked is answered. What was
    /// refused changed nothing, and some of what succeeds happens all the time or to anybody's liking: those are counted
    /// together.
    pub fn is_change(&self) -> bool {
        let passing = match self.action {
            Action::SignIn | Action::RefreshToken | Action::SendCode | Action::RequestPasswordReset => true,
            // Apps replace pre-keys every other day; another identity key is somebody else, or a new phone.
            Action::ChangeKeys => self.detail != Some(Detail::IdentityKey),
            _ => false,
        };
        self.outcome == Outcome::Success && !passing
    }

    /// To whom or what.
    #[must_use]
    pub fn on(mut self, on: impl Into<Party>) -> Self {
        self.on = Some(on.into());
        self
    }

    /// Which kind, or why.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.detail = Some(detail);
        self
    }
}

impl From<Aci> for Party {
    fn from(aci: Aci) -> Self {
        Self::Account(aci)
    }
}

impl From<DeviceAddress> for Party {
    fn from(device: DeviceAddress) -> Self {
        Self::Device(device)
    }
}

impl From<&PhoneNumber> for Party {
    fn from(number: &PhoneNumber) -> Self {
        Self::Number(number.clone())
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account(_) => "Account(…)",
            Self::Device(_) => "Device(…)",
            Self::NumberIdentity(_) => "NumberIdentity(…)",
            Self::Number(_) => "Number(…)",
            Self::Name(_) => "Name(…)",
            Self::Session(_) => "Session(…)",
            Self::Invite(_) => "Invite(…)",
            Self::Key(_) => "Key(…)",
            Self::Operator => "Operator",
            Self::Server => "Server",
            Self::Stranger => "Stranger",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::audit::from_peer;

    #[test]
    fn no_two_have_the_same_name() {
        assert_eq!(Action::ALL.iter().map(|x| x.name()).collect::<HashSet<_>>().len(), Action::ALL.len());
        assert_eq!(Detail::ALL.iter().map(|x| x.name()).collect::<HashSet<_>>().len(), Detail::ALL.len());
    }

    #[tokio::test]
    async fn an_event_knows_where_the_request_came_from() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let inside = from_peer(address, async { Action::SignIn.by(Party::Stranger).peer }).await;
        assert_eq!(inside, Some(address));
        assert_eq!(Action::SignIn.by(Party::Stranger).peer, None);
    }

    #[test]
    fn another_identity_key_is_a_change_and_another_pre_key_happens_all_the_time() {
        let change = |detail| Action::ChangeKeys.by(Party::Stranger).detail(detail).is_change();
        assert!(change(Detail::IdentityKey));
        assert!(!change(Detail::SignedPreKey) && !change(Detail::LastResortPreKey));
        assert!(!Action::DeleteAccount.refused(Party::Stranger).is_change());
    }

    #[test]
    fn debug_shows_nobody() {
        let number: PhoneNumber = "+15550100001".parse().unwrap();
        let event = Action::Verify.refused(&number).on(Party::Name("somebody".to_owned()));
        let text = format!("{event:?}");
        assert!(!text.contains("555") && !text.contains("somebody"), "{text}");
    }
}
