//! Values by their keys, from one source each, to be put over each other.

use config::{Map, Source, Value, ValueKind};
use serde::Deserialize;
use toml::de::DeValue;

use super::key::{Initial, Key};
use super::keys;
use super::nearest::nearest;
use super::problem::Problem;

/// What every variable that sets a key begins with.
const PREFIX: &str = "WALTZ_";
/// What stands between a section and a key in a variable.
const SEPARATOR: &str = "__";
/// Variables with names of their own, and the keys that they set.
const ALIASES: &[(&str, &str)] = &[("WALTZ_LOG", "log.filter")];

/// Values of one source.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(Vec<(&'static Key, Value)>);

impl Layer {
    /// Adds a value that was written there.
    pub(super) fn set(&mut self, key: &'static Key, origin: String, kind: ValueKind) {
        self.0.push((key, Value::new(Some(&origin), kind)));
    }

    /// Adds a value that was written there as text.
    pub(super) fn set_text(&mut self, key: &'static Key, origin: String, text: &str) {
        // What is no value is one of text, and told of with the others.
        let kind = value(text).unwrap_or_else(|_| ValueKind::String(text.to_owned()));
        self.set(key, origin, kind);
    }

    /// The values that are none of their keys'.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let problem = |(key, value): &(&'static Key, Value)| {
            let reason = key.check_value(value.kind.clone()).err()?;
            Some(Problem::new(value.origin().unwrap_or("default"), reason).of_key(&key.path()))
        };
        self.0.iter().filter_map(problem).collect()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.iter().map(|(key, value)| (key.path(), value.clone())).collect())
    }
}

/// What is in force unless something else is said.
pub(super) fn defaults() -> Layer {
    let mut layer = Layer::default();
    for key in keys() {
        if let Initial::Value(text) = key.initial {
            layer.set_text(key, "default".into(), text);
        }
    }
    layer
}

/// What the environment says. An empty variable says nothing.
pub(super) fn environment(
    variables: impl Iterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::default();
    for (name, text) in variables {
        if text.is_empty() || !name.starts_with(PREFIX) {
            continue;
        }
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        let key = keys().find(|key| match alias {
            Some((_, path)) => key.path() == *path,
            None => key.variable() == name,
        });
        match key {
            Some(key) => layer.set_text(key, name, &text),
            // Others of this prefix are for other commands.
            None if name[PREFIX.len()..].contains(SEPARATOR) => {
                let known = keys().map(Key::variable);
                problems.push(
                    Problem::new(&name, "no key has this variable")
                        .with_hint(nearest(&name, known)),
                );
            }
            None => {}
        }
    }
    layer
}

/// Reads a text that stands for a value: lists and tables as TOML has them, all else as it stands.
///
/// # Errors
/// When it begins like a list or a table and is none.
pub(super) fn value(text: &str) -> Result<ValueKind, String> {
    if !text.starts_with(['[', '{']) {
        return Ok(ValueKind::String(text.to_owned()));
    }
    let value = DeValue::parse(text).map_err(|error| error.message().to_owned())?;
    from_toml(value)
}

/// A value of TOML as one of a layer.
///
/// # Errors
/// When it is none, such as a number that is too large.
pub(super) fn from_toml(value: toml::Spanned<DeValue<'_>>) -> Result<ValueKind, String> {
    let value = Value::deserialize(toml::de::ValueDeserializer::from(value));
    value.map(|value| value.kind).map_err(|error| error.message().to_owned())
}

/// A key's value among those of all sections, if it has one.
pub(super) fn at<'a>(sections: &'a Value, key: &Key) -> Option<&'a Value> {
    let ValueKind::Table(sections) = &sections.kind else { return None };
    let ValueKind::Table(keys) = &sections.get(key.section)?.kind else { return None };
    keys.get(key.name)
}

/// A value as it would be written in TOML.
pub(super) fn text(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => literal(text),
        ValueKind::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| self::text(&value.kind)).collect();
            format!("[{}]", values.join(", "))
        }
        ValueKind::Table(table) => {
            let mut entries: Vec<_> = table
                .iter()
                .map(|(key, value)| format!("{key} = {}", self::text(&value.kind)))
                .collect();
            entries.sort();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text of a default, a variable or a flag as it would be written in TOML: bare if it is a number,
/// a boolean or a list there, in quotes if not.
pub(super) fn literal(text: &str) -> String {
    let is_bare = DeValue::parse(text).is_ok_and(|value| !value.get_ref().is_datetime());
    if is_bare { text.to_owned() } else { format!("{text:?}") }
}
