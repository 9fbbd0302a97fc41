//! What callers show who do not say who they are: access keys and group send tokens.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use protocol::{AccessKey, base64, group_send::GroupSendToken, ids::InvalidId};

use crate::reply::Refusal;

const ACCESS_KEY: &str = "unidentified-access-key";
const GROUP_SEND_TOKEN: &str = "group-send-token";

/// The credentials of a REST request besides those of a device.
#[derive(Debug)]
pub(super) struct Presented {
    /// An account's access key, or that of several combined.
    pub(super) access_key: Option<AccessKey>,
    /// A group send token.
    pub(super) group_send_token: Option<GroupSendToken>,
}

impl Presented {
    /// No credentials.
    pub(super) const NOTHING: Self = Self { access_key: None, group_send_token: None };

    /// Takes them out of the headers. One that is there but cannot be read is as wrong as one that does not
    /// fit: 401.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut shown = Self::NOTHING;
        for name in [ACCESS_KEY, GROUP_SEND_TOKEN] {
            let Some(value) = headers.get(name) else { continue };
            let with = value.to_str().ok().and_then(|value| shown.with(name, value));
            shown = with.ok_or(Refusal::bare(StatusCode::UNAUTHORIZED))?;
        }
        Ok(shown)
    }

    /// Whether a header of that name carries one of them.
    pub(super) fn is_named(name: &str) -> bool {
        [ACCESS_KEY, GROUP_SEND_TOKEN].iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    /// And what a header of such a name says. None if it cannot be read, or the same was said before.
    pub(super) fn with(self, name: &str, value: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case(ACCESS_KEY) {
            let access_key = self.access_key.is_none().then(|| read(value)).flatten()?;
            Some(Self { access_key: Some(access_key), ..self })
        } else {
            let token = self.group_send_token.is_none().then(|| read(value)).flatten()?;
            Some(Self { group_send_token: Some(token), ..self })
        }
    }
}

fn read<T>(value: &str) -> Option<T>
where
    T: for<'a> TryFrom<&'a [u8], Error = InvalidId>,
{
    let bytes = base64::decode_lenient(value)?;
    T::try_from(&Bytes::from(bytes)[..]).ok()
}
