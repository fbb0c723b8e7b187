//! What people write, as values: times, sizes, addresses and lists.
//!
//! Each type reads itself from text as it stands in a variable or a flag; TOML's numbers and
//! booleans are taken as the text that they are written as.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::de::{IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use waltz_archive::Archive;
use waltz_core::limits::Limits;
use waltz_core::membership::{MAX_LOCALITY_NAME, is_locality_name};
use waltz_core::wire::Version;
use waltz_runtime_tokio::ClientCertificates;

use crate::args::{
    Coordinator, parse_address, parse_bytes, parse_coordinator, parse_duration,
    parse_protocol_version,
};

/// Gives types that are read from text their `Deserialize`.
macro_rules! read_from_text {
    ($($type:ty: $read:expr;)+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Text(text) = Text::deserialize(deserializer)?;
                let read: fn(&str) -> Result<$type, String> = $read;
                read(&text).map_err(serde::de::Error::custom)
            }
        }
    )+};
}

read_from_text! {
    Address: |text| parse_address(text).map(Address);
    ArchiveUrl: |text| match Archive::open(text) {
        Ok(_) => Ok(ArchiveUrl(text.to_owned())),
        Err(error) => Err(error.to_string()),
    };
    Bytes: |text| parse_bytes(text).map(Bytes);
    Coordinator: parse_coordinator;
    LocalityName: LocalityName::read;
    LogFilter: LogFilter::read;
    LogFormat: |text| LogFormat::from_str(text, false)
        .map_err(|_| format!("{text:?} is no format of logs; use text or json"));
    Period: |text| parse_duration(text).map(Period);
    Protocol: |text| parse_protocol_version(text).map(Protocol);
    RecordBytes: RecordBytes::read;
    Role: |text| Role::from_str(text, false)
        .map_err(|_| format!("{text:?} is no role; use coordinator, server and storage"));
    TlsClients: |text| TlsClients::from_str(text, false)
        .map_err(|_| format!("{text:?} is neither required nor optional"));
    UnknownsRole: |text| match text.parse()? {
        waltz_core::access::Role::Node => {
            Err("nodes are known by their certificates; name those in access.nodes".to_owned())
        }
        role => Ok(UnknownsRole(role)),
    };
}

/// Where something listens: a host name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub String);

/// What names an archive, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveUrl(pub String);

/// A number of bytes, written as `1500`, `64M` or `10G`; the units are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// The name of a region or zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalityName(pub String);

impl LocalityName {
    fn read(text: &str) -> Result<Self, String> {
        match is_locality_name(text) {
            true => Ok(Self(text.to_owned())),
            false => {
                Err(format!("the name of a region or zone has 1 to {MAX_LOCALITY_NAME} bytes"))
            }
        }
    }
}

/// A time, written as `3s`, `500ms` or `7d`; a bare number is in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

/// A version of the protocol that this program speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol(pub Version);

/// The size of the largest record, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordBytes(pub u32);

impl RecordBytes {
    const SMALLEST: u32 = 256;

    fn read(text: &str) -> Result<Self, String> {
        let (bytes, largest) = (parse_bytes(text)?, Limits::default().frame_payload);
        match u32::try_from(bytes) {
            Ok(bytes) if (Self::SMALLEST..=largest).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(format!("{bytes} is not in {}..={largest}", Self::SMALLEST)),
        }
    }
}

/// What a node can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Keeps the cluster's metadata and assigns partitions.
    Coordinator,
    /// Serves partitions to clients.
    Server,
    /// Keeps replicas on its disk.
    Storage,
}

/// Roles, as a list or separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(pub Vec<Role>);

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RolesVisitor)
    }
}

struct RolesVisitor;

impl<'de> Visitor<'de> for RolesVisitor {
    type Value = Roles;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of roles")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Roles, E> {
        let names = text.split(',').filter(|name| !name.is_empty());
        let roles = names.map(|name| Role::deserialize(name.into_deserializer()));
        roles.collect::<Result<_, E>>().map(Roles)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Roles, A::Error> {
        let mut roles = Vec::new();
        while let Some(role) = names.next_element()? {
            roles.push(role);
        }
        Ok(Roles(roles))
    }
}

/// Names in certificates, as a list or separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names(pub Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_str<E>(self, text: &str) -> Result<Names, E> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(Names(names.map(str::to_owned).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Names, A::Error> {
        let mut read = Vec::new();
        while let Some(Text(name)) = names.next_element()? {
            read.push(name);
        }
        Ok(Names(read))
    }
}

/// Whether who connects has to have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsClients {
    /// It has to.
    Required,
    /// It may do without.
    Optional,
}

impl From<TlsClients> for ClientCertificates {
    fn from(clients: TlsClients) -> Self {
        match clients {
            TlsClients::Required => Self::Required,
            TlsClients::Optional => Self::Optional,
        }
    }
}

/// What those may do whom no rule is about: any role but that of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownsRole(pub waltz_core::access::Role);

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What is logged, in the language of `tracing`'s filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(pub String);

impl LogFilter {
    fn read(text: &str) -> Result<Self, String> {
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("{text:?} is no filter of logs: {error}")),
        }
    }
}

/// Anything that is written as one word or number.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }
}
