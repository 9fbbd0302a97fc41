//! The commented sample file, made from the doc comments and defaults of the structs.

use std::fmt::Write;

use schemars::{Schema, schema_for};
use serde_json::Value;
use toml::Table;

use super::Config;

/// The sample: every key with its default, commented out, under what it means.
pub(crate) fn sample() -> String {
    let schema = schema_for!(Config);
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let mut out =
        String::from("# Heliograph. Every key is shown with its default; remove the # to change it.\n");
    let mut sections = String::new();
    for (name, about) in properties(schema.as_value()) {
        match defaults.get(&name) {
            Some(toml::Value::Table(values)) => section(&mut sections, &schema, &name, about, values),
            value => key(&mut out, &name, about, value),
        }
    }
    out + &sections
}

fn section(out: &mut String, schema: &Schema, name: &str, about: &Value, values: &Table) {
    out.push('\n');
    comment(out, about);
    let _ = writeln!(out, "[{name}]");
    let definition = about
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| schema.as_value().pointer(reference.strip_prefix('#')?));
    for (name, about) in definition.map(properties).into_iter().flatten() {
        key(out, &name, about, values.get(&name));
    }
}

fn key(out: &mut String, name: &str, about: &Value, value: Option<&toml::Value>) {
    out.push('\n');
    comment(out, about);
    if let Some(value) = value {
        let _ = writeln!(out, "#{name} = {value}");
    }
}

fn comment(out: &mut String, about: &Value) {
    for line in about.get("description").and_then(Value::as_str).unwrap_or_default().lines() {
        let _ = writeln!(out, "# {line}");
    }
}

fn properties(schema: &Value) -> Vec<(String, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, about)| (name.clone(), about)).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn the_sample_uncommented_is_the_default() {
        let text: String = sample().lines().map(|line| uncomment(line) + "\n").collect();
        let table: Table = text.parse().unwrap();
        assert_eq!(Config::deserialize(table).unwrap(), Config::default());
    }

    #[test]
    fn every_key_is_explained() {
        let sample = sample();
        let lines: Vec<_> = sample.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if is_key(line) || line.starts_with('[') {
                assert!(lines[index - 1].starts_with("# "), "{line}");
            }
        }
        assert!(lines.iter().filter(|line| is_key(line)).count() > 15);
    }

    fn is_key(line: &str) -> bool {
        line.starts_with('#') && !line.starts_with("# ")
    }

    fn uncomment(line: &str) -> String {
        if is_key(line) { line[1..].to_owned() } else { line.to_owned() }
    }
}
