//! `heliograph keys`: the keys of access tokens, listed and rotated.

use anyhow::Result;
use protocol::ambient::{Clock, SystemClock, Timestamp};

use crate::secrets::Secrets;

/// Every key that is believed, with dates and without secrets.
pub(crate) fn list(secrets: &Secrets) -> Result<String> {
    let keys = secrets.access_key_list()?.shown(SystemClock.now())?;
    let lines = keys.iter().map(|key| {
        let state = match key.believed_until {
            Some(until) => format!("believed until {}", until.to_rfc3339()),
            None => "signs access tokens".to_owned(),
        };
        format!("\n  {}  made {}, {state}", key.id, Timestamp::to_rfc3339(key.made))
    });
    Ok(format!("Access token keys{}", lines.collect::<String>()))
}

/// Makes another key, and says which.
pub(crate) fn rotate(secrets: &Secrets, at_once: bool) -> Result<String> {
    let keys = secrets.rotate_access_key(at_once)?.shown(SystemClock.now())?;
    let id = keys.last().map(|key| key.id.clone()).unwrap_or_default();
    let before = if at_once { "are no longer good" } else { "stay good to their end" };
    Ok(format!(
        "key {id} signs access tokens from now on, and tokens signed before {before}; a running server takes it up \
         within a minute, or at once on SIGHUP"
    ))
}
