//! Reading the file, with every mistake in it told at once.

use std::{fmt, fs, io, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;

/// Sections have keys; nothing is nested deeper.
const DEPTH: usize = 2;

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    Unreadable(io::Error),
    /// It is not TOML.
    NotToml(toml::de::Error),
    /// Everything that is wrong with it.
    Mistakes(Vec<String>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "the configuration cannot be read: {error}"),
            Self::NotToml(error) => write!(f, "the configuration is not TOML: {error}"),
            Self::Mistakes(mistakes) => {
                f.write_str("the configuration has mistakes:")?;
                mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads a file; without one, everything is as by default.
pub(crate) fn read(path: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(path) = path else { return Ok(Config::default()) };
    parse(&fs::read_to_string(path).map_err(ConfigError::Unreadable)?)
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(ConfigError::NotToml)?;
    let mut unreadable = Vec::new();
    for (name, value) in &table {
        collect(&[name], value, &mut unreadable);
    }
    // What can be read is judged too, without what cannot.
    for Unreadable { path, .. } in &unreadable {
        remove(&mut table, path);
    }
    let mut mistakes: Vec<_> = unreadable
        .into_iter()
        .map(|Unreadable { path, message }| format!("{}: {message}", path.join(".")))
        .collect();
    match Config::deserialize(table) {
        Ok(config) => {
            mistakes.extend(config.mistakes());
            if mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Mistakes(mistakes)) }
        }
        Err(error) => {
            mistakes.push(sentence(&error));
            Err(ConfigError::Mistakes(mistakes))
        }
    }
}

/// A key whose value cannot be read.
struct Unreadable {
    path: Vec<String>,
    message: String,
}

/// Tries each value alone: what is wrong with one says nothing about the others.
fn collect(path: &[&str], value: &Value, unreadable: &mut Vec<Unreadable>) {
    let alone = path
        .iter()
        .rev()
        .fold(value.clone(), |value, name| Value::Table(Table::from_iter([((*name).to_owned(), value)])));
    let Err(error) = Config::deserialize(alone) else { return };
    if let Value::Table(section) = value
        && path.len() < DEPTH
    {
        // Descending finds which keys of a section are wrong, and all of them.
        let before = unreadable.len();
        for (name, value) in section {
            collect(&[path, &[name]].concat(), value, unreadable);
        }
        if unreadable.len() > before {
            return;
        }
    }
    let path = path.iter().map(|name| (*name).to_owned()).collect();
    unreadable.push(Unreadable { path, message: sentence(&error) });
}

fn remove(table: &mut Table, path: &[String]) {
    match path {
        [name] => drop(table.remove(name)),
        [section, rest @ ..] => {
            if let Some(Value::Table(section)) = table.get_mut(section) {
                remove(section, rest);
            }
        }
        [] => {}
    }
}

fn sentence(error: &toml::de::Error) -> String {
    error.message().lines().next().unwrap_or("cannot be read").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        match parse(text) {
            Err(ConfigError::Mistakes(mistakes)) => mistakes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_key() {
        let found = mistakes(
            "lisen = '127.0.0.1:1'\nlisten = 7\n[gateway]\nconnections_max = 'many'\nconection = 1\n\
             [limits.messages]\nsize = -1\ninterval_ms = 1\n",
        );
        let told = |key: &str| found.iter().any(|mistake| mistake.starts_with(&format!("{key}: ")));
        for key in ["lisen", "listen", "gateway.connections_max", "gateway.conection"] {
            assert!(told(key), "{key} is not in {found:?}");
        }
        assert!(found.iter().any(|mistake| mistake.starts_with("limits.messages")), "{found:?}");
    }

    #[test]
    fn what_cannot_be_read_does_not_hide_what_makes_no_sense() {
        let found = mistakes("lisen = 1\n[gateway]\nconnections_max = 0\nrequest_timeout_ms = 'long'\n");
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn values_that_make_no_sense_are_told_too() {
        let found = mistakes("[gateway]\nconnections_max = 0\n[limits.postage]\nsize = 1\ninterval_ms = 1\n");
        assert_eq!(found.len(), 2, "{found:?}");
        let found = mistakes("[challenges]\nenabled = true\ncaptcha = false\n");
        assert!(found[0].starts_with("challenges: "), "{found:?}");
        for days in [0, 31, u32::MAX] {
            let found = mistakes(&format!("[sender_certificates]\nlifetime_days = {days}\n"));
            assert!(found[0].starts_with("sender_certificates.lifetime_days: "), "{found:?}");
        }
    }

    #[test]
    fn passwords_tokens_and_sessions_stay_within_their_bounds() {
        for (text, key) in [
            ("[passwords]\nlength_min = 7\n", "passwords.length_min"),
            ("[passwords]\nlength_max = 63\n", "passwords.length_max"),
            ("[passwords]\nhash_memory_kib = 19455\n", "passwords.hash_memory_kib"),
            ("[passwords]\nhash_passes = 1\n", "passwords.hash_memory_kib"),
            ("[passwords]\nhash_workers = 0\n", "passwords.hash_workers"),
            ("[access_tokens]\nlifetime_minutes = 61\n", "access_tokens.lifetime_minutes"),
            ("[access_tokens]\naudience = ''\n", "access_tokens.audience"),
            ("[sessions]\nidle_days = 0\n", "sessions.idle_days"),
            ("[sessions]\nlongest_days = 29\n", "sessions.longest_days"),
        ] {
            let found = mistakes(text);
            assert!(found.len() == 1 && found[0].starts_with(key), "{found:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_as_by_default() {
        assert_eq!(parse("").unwrap(), Config::default());
        let config = parse("[limits.messages]\nsize = 1000000\ninterval_ms = 0.001\n").unwrap();
        assert_eq!(config.rate_limits().len(), 1);
    }
}
