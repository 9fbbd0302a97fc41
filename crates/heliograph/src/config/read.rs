//! Reading the file, with every mistake in it told at once.

use std::{fmt, fs, io, path::Path};

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;

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
    let table: Table = text.parse().map_err(ConfigError::NotToml)?;
    let mut mistakes = Vec::new();
    for (name, value) in &table {
        collect(&[name], value, &mut mistakes);
    }
    if mistakes.is_empty() {
        let config =
            Config::deserialize(table).map_err(|error| ConfigError::Mistakes(vec![error.to_string()]))?;
        mistakes = config.mistakes();
        if mistakes.is_empty() {
            return Ok(config);
        }
    }
    Err(ConfigError::Mistakes(mistakes))
}

/// Tries each value alone: what is wrong with one says nothing about the others.
fn collect(path: &[&str], value: &Value, mistakes: &mut Vec<String>) {
    let alone = path
        .iter()
        .rev()
        .fold(value.clone(), |value, name| Value::Table(Table::from_iter([((*name).to_owned(), value)])));
    let Err(error) = Config::deserialize(alone) else { return };
    match value {
        // Descending finds which keys of a section are wrong, and all of them.
        Value::Table(section) if path.len() < 3 => {
            let before = mistakes.len();
            for (name, value) in section {
                collect(&[path, &[name]].concat(), value, mistakes);
            }
            if mistakes.len() > before {
                return;
            }
            mistakes.push(format!("{}: {}", path.join("."), sentence(&error)));
        }
        _ => mistakes.push(format!("{}: {}", path.join("."), sentence(&error))),
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
    fn values_that_make_no_sense_are_told_too() {
        let found = mistakes("[gateway]\nconnections_max = 0\n[limits.postage]\nsize = 1\ninterval_ms = 1\n");
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn what_is_not_there_is_as_by_default() {
        assert_eq!(parse("").unwrap(), Config::default());
        let config = parse("[limits.messages]\nsize = 1000000\ninterval_ms = 0.001\n").unwrap();
        assert_eq!(config.rate_limits().len(), 1);
    }
}
