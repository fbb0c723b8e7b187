//! A node's configuration: one TOML file, environment variables over it, flags over these.
//!
//! ```text
//!  defaults ──▶ FILE ──▶ WALTZ_SECTION__KEY ──▶ --flag ──▶ Settings
//!  (sections)   (file)         (layers)         (flags)
//! ```
//!
//! Every key stands once, in `sections.rs`, with its type, what it means, its unit, its default and
//! its flag. The file's shape, the variables, the flags and their help, `waltz config example` and
//! `docs/configuration.md` all come from there; adding a key is adding it there, and writing the
//! page anew (`cargo test -p waltz-server --lib config::document::rewrite -- --ignored`).
//!
//! Nothing wrong is passed over: an unknown key, section or variable is refused with the nearest
//! known one, and all problems are told at once.

#[cfg(test)]
mod document;
mod example;
mod file;
mod flags;
mod key;
mod layers;
mod nearest;
mod problem;
mod sections;
#[cfg(test)]
mod tests;
mod values;

use std::path::Path;

use serde::Deserialize;

pub use example::example;
pub use flags::Flags;
pub use key::{Flag, Initial, Key, Section};
use layers::Layer;
pub use problem::{Problem, Problems};
pub use sections::{
    AccessSettings, ArchiveSettings, ClusterSettings, CoordinatorLoginSettings,
    CoordinatorTlsSettings, DEFAULT_CLUSTER, HealthSettings, LimitSettings, LogSettings,
    NodeSettings, RecorderSettings, RetentionSettings, SECTIONS, Settings, StorageSettings,
    TlsSettings,
};
pub use values::{
    Address, ArchiveUrl, Bytes, LocalityName, LogFilter, LogFormat, Names, Period, Protocol,
    RecordBytes, Role, Roles, TlsClients, UnknownsRole,
};

/// A node's settings, and where each of them was set.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    layered: config::Config,
}

/// One key's value as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// The key, as `section.key`.
    pub key: String,
    /// Its value as TOML has it, if there is one.
    pub value: Option<String>,
    /// Where it was set: `FILE:LINE`, a variable, a flag, or `default`.
    pub origin: String,
}

impl Loaded {
    /// Every key with its value and where that was set, in the order of [`SECTIONS`].
    pub fn effective(&self) -> Vec<Effective> {
        let effective = |key: &Key| {
            let value = layers::at(&self.layered.cache, key);
            let origin = value.and_then(config::Value::origin).unwrap_or("default").to_owned();
            let value = value.map(|value| layers::text(&value.kind));
            Effective { key: key.path(), value, origin }
        };
        keys().map(effective).collect()
    }
}

/// All keys, section by section.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// This process' environment. What is no text there is not lost, but no value either.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// Reads a node's settings: the defaults, then the file, then the variables, then the flags.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let mut layered = vec![layers::defaults()];
    if let Some(path) = file {
        layered.push(file::read(path, &mut problems));
    }
    layered.push(layers::environment(environment, &mut problems));
    layered.push(flags.layer());
    build(layered, problems)
}

/// Puts layers over each other, the last one on top.
fn build(layers: Vec<Layer>, mut problems: Vec<Problem>) -> Result<Loaded, Problems> {
    problems.extend(layers.iter().flat_map(Layer::problems));
    let layered = layers
        .into_iter()
        .fold(config::Config::builder(), |builder, layer| builder.add_source(layer));
    let layered = layered.build().expect("layers hold values that were read already");
    if problems.is_empty() {
        match Settings::deserialize(layered.clone()) {
            Ok(settings) => return Ok(Loaded { settings, layered }),
            Err(error) => problems.push(Problem::new("the configuration", error)),
        }
    }
    Err(Problems(problems))
}
