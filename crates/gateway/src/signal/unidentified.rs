//! What callers show who do not say who they are: access keys and group send tokens.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use protocol::{AccessKey, base64, group_send::GroupSendToken, ids::InvalidId};

use crate::reply::Refusal;

const ACCESS_KEY: HeaderName = HeaderName::from_static("unidentified-access-key");
const GROUP_SEND_TOKEN: HeaderName = HeaderName::from_static("group-send-token");

/// The credentials of a REST request besides those of a device.
#[derive(Debug)]
pub(super) struct Presented {
    /// An account's access key, or that of several combined.
    pub(super) access_key: Option<AccessKey>,
    /// A group send token.
    pub(super) group_send_token: Option<GroupSendToken>,
}

impl Presented {
    /// Takes them out of the headers. One that is there but cannot be read is as wrong as one that does not
    /// fit: 401.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        Ok(Self {
            access_key: read(headers, &ACCESS_KEY)?,
            group_send_token: read(headers, &GROUP_SEND_TOKEN)?,
        })
    }
}

fn read<T>(headers: &HeaderMap, name: &HeaderName) -> Result<Option<T>, Refusal>
where
    T: for<'a> TryFrom<&'a [u8], Error = InvalidId>,
{
    let Some(value) = headers.get(name) else { return Ok(None) };
    let bytes = value.to_str().ok().and_then(base64::decode_lenient);
    let credential = bytes.and_then(|bytes| T::try_from(&Bytes::from(bytes)[..]).ok());
    credential.map(Some).ok_or(Refusal::bare(StatusCode::UNAUTHORIZED))
}
