//! Which limits there are, under which name they are configured, and their defaults.

use std::{str::FromStr, time::Duration};

use crate::Limit;

/// One kind of limit. The comment of each says what its key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitId {
    /// Attempts to register; by number.
    Registration,
    /// Guesses of a registration lock; by number, full again after a right one.
    Pin,
    /// Verification sessions opened; by number.
    VerificationSession,
    /// Captchas handed in; by verification session.
    VerificationCaptcha,
    /// Push challenges handed in; by verification session.
    VerificationPushChallenge,
    /// Verification codes sent; by number, over all its sessions.
    VerificationCodeSend,
    /// Verification codes tried; by number, over all its sessions.
    VerificationCodeCheck,
    /// Fetches of pre-keys; by caller, its device, the target and its device.
    Prekeys,
    /// Identified sends; by sender and recipient.
    Messages,
    /// Bytes of message content sent; by recipient.
    InboundMessageBytes,
    /// Stories sent; by recipient.
    Stories,
    /// Questions whether an account exists; by network address.
    CheckAccountExistence,
    /// Link codes made; by account.
    AllocateDevice,
    /// Devices that ask to be linked with a code that is good; by account.
    VerifyDevice,
    /// Link codes of native accounts handed in, right and wrong; by network address.
    LinkAddress,
    /// Waits for a device that is being linked; by account.
    WaitForLinkedDevice,
    /// Words left for a device about its history; by account.
    UploadTransferArchive,
    /// Waits for them; by device.
    WaitForTransferArchive,
    /// Choices of how an account is restored that are left, and waits for them; by network address.
    RestoreAccount,
    /// Those among them that are left, and kept for an hour; by network address.
    RestoreAccountKept,
    /// Messages of a sender who says who it is, to whomever, before it must show that it is a person; by
    /// sender. Counted only where challenges are switched on.
    Challenge,
    /// Right answers to challenges of any kind, each of which fills the former again; by account.
    RateLimitReset,
    /// Captchas handed in to answer a challenge; by account.
    CaptchaChallengeAttempt,
    /// Those among them that were right; by account.
    CaptchaChallengeSuccess,
    /// Answers to push challenges; by account.
    PushChallengeAttempt,
    /// Those among them that were right; by account.
    PushChallengeSuccess,
    /// Pushes that wake a device which stays away; by device.
    WakeUps,
    /// Native accounts registered; by network address.
    NativeRegistration,
    /// Attempts to log in; by network address.
    LoginAddress,
    /// Attempts to log in to one account, by people whom it knows neither by device nor by address; by username.
    LoginStranger,
    /// Requests for another password; by network address.
    PasswordResetAddress,
    /// Letters with a code for another password that strangers ask for; by account.
    PasswordResetStranger,
    /// Those that are asked for from a network address from which somebody has logged in; by account and address.
    PasswordResetKnown,
    /// E-mail addresses wished for; by account.
    EmailChange,
    /// Codes for e-mail addresses asked for by people without an account; by network address.
    EmailProof,
    /// Letters with a code to an e-mail address that is nobody's yet; by e-mail address.
    EmailLetters,
    /// One-time passwords tried; by account. Wrong ones in a row bring longer waits of their own.
    Totp,
}

impl LimitId {
    /// Every limit, in the order of the enumeration.
    pub const ALL: [Self; 37] = [
        Self::Registration,
        Self::Pin,
        Self::VerificationSession,
        Self::VerificationCaptcha,
        Self::VerificationPushChallenge,
        Self::VerificationCodeSend,
        Self::VerificationCodeCheck,
        Self::Prekeys,
        Self::Messages,
        Self::InboundMessageBytes,
        Self::Stories,
        Self::CheckAccountExistence,
        Self::AllocateDevice,
        Self::VerifyDevice,
        Self::LinkAddress,
        Self::WaitForLinkedDevice,
        Self::UploadTransferArchive,
        Self::WaitForTransferArchive,
        Self::RestoreAccount,
        Self::RestoreAccountKept,
        Self::Challenge,
        Self::RateLimitReset,
        Self::CaptchaChallengeAttempt,
        Self::CaptchaChallengeSuccess,
        Self::PushChallengeAttempt,
        Self::PushChallengeSuccess,
        Self::WakeUps,
        Self::NativeRegistration,
        Self::LoginAddress,
        Self::LoginStranger,
        Self::PasswordResetAddress,
        Self::PasswordResetStranger,
        Self::PasswordResetKnown,
        Self::EmailChange,
        Self::EmailProof,
        Self::EmailLetters,
        Self::Totp,
    ];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Pin => "pin",
            Self::VerificationSession => "verification_session",
            Self::VerificationCaptcha => "verification_captcha",
            Self::VerificationPushChallenge => "verification_push_challenge",
            Self::VerificationCodeSend => "verification_code_send",
            Self::VerificationCodeCheck => "verification_code_check",
            Self::Prekeys => "prekeys",
            Self::Messages => "messages",
            Self::InboundMessageBytes => "inbound_message_bytes",
            Self::Stories => "stories",
            Self::CheckAccountExistence => "check_account_existence",
            Self::AllocateDevice => "allocate_device",
            Self::VerifyDevice => "verify_device",
            Self::LinkAddress => "link_address",
            Self::WaitForLinkedDevice => "wait_for_linked_device",
            Self::UploadTransferArchive => "upload_transfer_archive",
            Self::WaitForTransferArchive => "wait_for_transfer_archive",
            Self::RestoreAccount => "restore_account",
            Self::RestoreAccountKept => "restore_account_kept",
            Self::Challenge => "challenge",
            Self::RateLimitReset => "rate_limit_reset",
            Self::CaptchaChallengeAttempt => "captcha_challenge_attempt",
            Self::CaptchaChallengeSuccess => "captcha_challenge_success",
            Self::PushChallengeAttempt => "push_challenge_attempt",
            Self::PushChallengeSuccess => "push_challenge_success",
            Self::WakeUps => "wake_ups",
            Self::NativeRegistration => "native_registration",
            Self::LoginAddress => "login_address",
            Self::LoginStranger => "login_stranger",
            Self::PasswordResetAddress => "password_reset_address",
            Self::PasswordResetStranger => "password_reset_stranger",
            Self::PasswordResetKnown => "password_reset_known",
            Self::EmailChange => "email_change",
            Self::EmailProof => "email_proof",
            Self::EmailLetters => "email_letters",
            Self::Totp => "totp",
        }
    }

    /// The limit that applies unless the configuration says otherwise: that of Signal's service where it
    /// publishes one.
    pub const fn default_limit(self) -> Limit {
        let (size, interval) = match self {
            Self::Registration => (6, Duration::from_secs(30)),
            Self::Pin => (10, Duration::from_hours(24)),
            // Ours: a session costs one row for ten minutes, a mistyped number should not lock anyone out.
            Self::VerificationSession => (30, Duration::from_secs(10)),
            Self::VerificationCaptcha | Self::WaitForLinkedDevice | Self::WaitForTransferArchive => {
                (10, Duration::from_secs(30))
            }
            Self::VerificationPushChallenge => (5, Duration::from_secs(30)),
            // Ours: each one may cost the operator money.
            Self::VerificationCodeSend => (5, Duration::from_mins(10)),
            // Ours: 144 guesses a day at one in a million each.
            Self::VerificationCodeCheck => (10, Duration::from_mins(10)),
            Self::Prekeys => (6, Duration::from_mins(10)),
            Self::Messages => (60, Duration::from_secs(1)),
            Self::InboundMessageBytes => (128 * 1024 * 1024, Duration::from_micros(500)),
            Self::Stories => (5000, Duration::from_secs(8)),
            Self::CheckAccountExistence => (1000, Duration::from_secs(4)),
            Self::AllocateDevice | Self::VerifyDevice => (6, Duration::from_mins(2)),
            // Ours: enough for a household. A code cannot be guessed anyway.
            Self::LinkAddress => (10, Duration::from_secs(30)),
            Self::UploadTransferArchive => (10, Duration::from_mins(1)),
            Self::RestoreAccount => (10, Duration::from_millis(100)),
            // Ours: nobody restores so many phones, and what they leave takes room.
            Self::RestoreAccountKept => (100, Duration::from_secs(36)),
            // Ours: nobody writes so much by hand, and most messages of official apps are sealed and not counted.
            Self::Challenge => (1000, Duration::from_secs(10)),
            Self::RateLimitReset | Self::CaptchaChallengeSuccess | Self::PushChallengeSuccess => {
                (2, Duration::from_hours(12))
            }
            Self::CaptchaChallengeAttempt | Self::PushChallengeAttempt => (10, Duration::from_mins(144)),
            // Ours: platforms hold back what comes oftener, and one that has arrived brings all that waits.
            Self::WakeUps => (30, Duration::from_secs(30)),
            // Ours: a family or a small office behind one address.
            Self::NativeRegistration | Self::PasswordResetAddress | Self::EmailProof => {
                (10, Duration::from_mins(6))
            }
            // Ours: right ones count too, and each costs a password hash.
            Self::LoginAddress => (60, Duration::from_secs(5)),
            // Ours: 750 guesses a day, from however many addresses.
            Self::LoginStranger => (30, Duration::from_mins(2)),
            // Ours: an inbox bears that much from strangers. No longer than a code is good: while this limit is reached,
            // there is one in the inbox that its owner can use.
            Self::PasswordResetStranger | Self::EmailLetters => (3, Duration::from_mins(30)),
            Self::PasswordResetKnown => (3, Duration::from_mins(10)),
            Self::EmailChange => (5, Duration::from_mins(30)),
            Self::Totp => (5, Duration::from_secs(6)),
        };
        Limit { size, interval }
    }
}

impl FromStr for LimitId {
    type Err = UnknownLimit;

    fn from_str(name: &str) -> Result<Self, UnknownLimit> {
        Self::ALL.into_iter().find(|id| id.name() == name).ok_or(UnknownLimit)
    }
}

/// A name that no limit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLimit;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_in_order() {
        for (place, id) in LimitId::ALL.into_iter().enumerate() {
            assert_eq!(id as usize, place);
            assert_eq!(id.name().parse(), Ok(id));
        }
        assert_eq!("nothing".parse::<LimitId>(), Err(UnknownLimit));
    }
}
