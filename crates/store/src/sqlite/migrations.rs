//! The schema of each file: embedded, ordered, forward only.
//!
//! A file is ours if its `application_id` says so. A file that holds a migration we do not know was
//! written by a newer release and is refused; so is one whose applied migration differs from ours.

use std::{
    cmp::Ordering,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use refinery::{Migration, Runner};
use rusqlite::Connection;

use super::database::{OpenError, Schema};

const ACCOUNTS: &[(&str, &str)] = &[
    ("V1__auth", include_str!("migrations/accounts/001_auth.sql")),
    ("V2__keys", include_str!("migrations/accounts/002_keys.sql")),
    ("V3__linking", include_str!("migrations/accounts/003_linking.sql")),
    ("V4__reports", include_str!("migrations/accounts/004_reports.sql")),
    ("V5__keyless", include_str!("migrations/accounts/005_keyless.sql")),
    ("V6__push", include_str!("migrations/accounts/006_push.sql")),
    ("V7__native", include_str!("migrations/accounts/007_native.sql")),
    ("V8__handover", include_str!("migrations/accounts/008_handover.sql")),
    ("V9__number_notices", include_str!("migrations/accounts/009_number_notices.sql")),
    ("V10__unseen", include_str!("migrations/accounts/010_unseen.sql")),
    ("V11__receipts", include_str!("migrations/accounts/011_receipts.sql")),
    ("V12__factors", include_str!("migrations/accounts/012_factors.sql")),
    ("V13__admission", include_str!("migrations/accounts/013_admission.sql")),
    ("V14__logged_out", include_str!("migrations/accounts/014_logged_out.sql")),
    ("V15__email", include_str!("migrations/accounts/015_email.sql")),
    ("V16__native_linking", include_str!("migrations/accounts/016_native_linking.sql")),
];

const MESSAGES: &[(&str, &str)] = &[
    ("V1__queue", include_str!("migrations/messages/001_queue.sql")),
    ("V2__shared", include_str!("migrations/messages/002_shared.sql")),
    ("V3__push", include_str!("migrations/messages/003_push.sql")),
    ("V4__segments", include_str!("migrations/messages/004_segments.sql")),
];

const AUDIT: &[(&str, &str)] = &[("V1__audit", include_str!("migrations/audit/001_audit.sql"))];

impl Schema {
    /// `application_id` of the file's header, "Hg" and which file it is.
    fn application_id(self) -> i32 {
        match self {
            Self::Accounts => 0x4867_0001,
            Self::Messages => 0x4867_0002,
            Self::Audit => 0x4867_0003,
        }
    }

    fn migrations(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Accounts => ACCOUNTS,
            Self::Messages => MESSAGES,
            Self::Audit => AUDIT,
        }
    }
}

/// Checks that the file is one of ours and brings its schema up to date.
pub(super) fn migrate(connection: &mut Connection, schema: Schema) -> Result<(), OpenError> {
    let found: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (found, tables) {
        (0, 0) => connection.pragma_update(None, "application_id", schema.application_id())?,
        (id, _) if id == schema.application_id() => {}
        _ => return Err(OpenError::Foreign),
    }
    if is_current(connection, schema) {
        return Ok(());
    }
    // Refinery refuses by itself a store with a migration that is missing here (a newer one) or differs.
    runner(schema)?.set_abort_missing(true).set_abort_divergent(true).run(connection).map(drop).map_err(
        |error| match error.kind() {
            refinery::error::Kind::MissingVersion(_) => OpenError::Newer,
            _ => OpenError::Migration(error.to_string()),
        },
    )
}

/// Checks that the file is one of ours and that its schema is that of this release, and changes nothing.
pub(super) fn check(connection: &mut Connection, schema: Schema) -> Result<(), OpenError> {
    let found: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if found != schema.application_id() {
        return Err(OpenError::Foreign);
    }
    if is_current(connection, schema) {
        return Ok(());
    }
    let last = runner(schema)?
        .get_last_applied_migration(connection)
        .map_err(|error| OpenError::Migration(error.to_string()))?;
    let applied = last.map_or(0, |last| i64::from(last.version()));
    let known = i64::try_from(schema.migrations().len()).unwrap_or(i64::MAX);
    match applied.cmp(&known) {
        Ordering::Less => Err(OpenError::Older),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(OpenError::Newer),
    }
}

/// Whether the file has been through exactly the migrations of this release. Refinery answers the same, but compiles a regular
/// expression for it, to read the names of the migrations: 1.2 MB that stay for as long as the server runs.
fn is_current(connection: &Connection, schema: Schema) -> bool {
    // Whatever is wrong with the history, refinery is asked, and says what.
    history(connection).is_ok_and(|history| history.into_iter().eq(expected(schema)))
}

/// A migration as refinery records it: version, name and checksum.
type Recorded = (i32, String, String);

fn history(connection: &Connection) -> Result<Vec<Recorded>, rusqlite::Error> {
    connection
        .prepare("SELECT version, name, checksum FROM refinery_schema_history ORDER BY version")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

fn expected(schema: Schema) -> impl Iterator<Item = Recorded> {
    schema.migrations().iter().filter_map(|(name, sql)| {
        let (version, name) = name.strip_prefix('V')?.split_once("__")?;
        let version: i32 = version.parse().ok()?;
        // What refinery computes, as long as the standard library keeps to its algorithm.
        let mut checksum = DefaultHasher::new();
        (name, version, sql).hash(&mut checksum);
        Some((version, name.to_owned(), checksum.finish().to_string()))
    })
}

fn runner(schema: Schema) -> Result<Runner, OpenError> {
    let migrations = schema.migrations().iter().map(|(name, sql)| Migration::unapplied(name, sql));
    let migrations = migrations.collect::<Result<Vec<_>, _>>();
    migrations
        .map(|migrations| Runner::new(&migrations))
        .map_err(|error| OpenError::Migration(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refinery_records_is_expected() {
        for schema in [Schema::Accounts, Schema::Messages, Schema::Audit] {
            let of_refinery = runner(schema).unwrap();
            let of_refinery = of_refinery.get_migrations().iter().map(|migration| {
                (migration.version(), migration.name().to_owned(), migration.checksum().to_string())
            });
            assert!(of_refinery.eq(expected(schema)), "{schema:?}");
        }
    }

    #[test]
    fn only_an_unaltered_history_is_current() {
        let fresh = || {
            let mut connection = Connection::open_in_memory().unwrap();
            assert!(!is_current(&connection, Schema::Messages));
            migrate(&mut connection, Schema::Messages).unwrap();
            assert!(is_current(&connection, Schema::Messages));
            migrate(&mut connection, Schema::Messages).unwrap();
            connection
        };
        let altered = |sql| {
            let mut connection = fresh();
            connection.execute_batch(sql).unwrap();
            assert!(!is_current(&connection, Schema::Messages), "{sql}");
            migrate(&mut connection, Schema::Messages)
        };
        let differs = altered("UPDATE refinery_schema_history SET checksum = '1' WHERE version = 2");
        assert!(matches!(differs, Err(OpenError::Migration(_))));
        let newer = altered(
            "INSERT INTO refinery_schema_history
             SELECT 999, name, applied_on, checksum FROM refinery_schema_history WHERE version = 3",
        );
        assert!(matches!(newer, Err(OpenError::Newer)));
        altered(
            "DROP TABLE messages_segments; ALTER TABLE messages_queue DROP COLUMN segment;
             ALTER TABLE messages_queue DROP COLUMN at; ALTER TABLE messages_queue DROP COLUMN length;
             DELETE FROM refinery_schema_history WHERE version = 4",
        )
        .unwrap();
    }

    #[test]
    fn accounts_keep_their_keys_and_devices_when_keys_become_optional() {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        let (before, after) = ACCOUNTS.split_at(4);
        for (_, sql) in before {
            connection.execute_batch(sql).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO auth_accounts (id, aci, version, identity_key, unrestricted_access, discoverable)
                     VALUES (1, x'01', 1, x'0505', FALSE, FALSE);
                 INSERT INTO auth_devices (account, device, credential, locked, registration_id,
                         fetches_messages, capabilities, created, last_seen)
                     VALUES (1, 1, x'00', FALSE, 1, TRUE, 0, 0, 0);",
            )
            .unwrap();
        for (_, sql) in after {
            connection.execute_batch(sql).unwrap();
        }
        let kept: (Vec<u8>, u32) = connection
            .query_row(
                "SELECT identity_key, device FROM auth_accounts JOIN auth_devices ON account = id",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(kept, (vec![5, 5], 1));
        connection
            .execute_batch(
                "INSERT INTO auth_accounts (aci, version, unrestricted_access, discoverable)
                     VALUES (x'02', 1, FALSE, FALSE)",
            )
            .unwrap();
    }
}
