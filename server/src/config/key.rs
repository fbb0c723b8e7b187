//! What is known of a key, and the macro that sections are written with.

use serde::de::DeserializeOwned;

use super::layers;

/// A table of the configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What its keys are about, a line each.
    pub about: &'static [&'static str],
    /// Its keys, in the order in which they are shown.
    pub keys: &'static [Key],
}

/// A key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The section it is in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it means and its unit, a line each.
    pub about: &'static [&'static str],
    /// Its value unless it is set.
    pub initial: Initial,
    /// The flag of `waltz serve` that sets it.
    pub flag: Option<Flag>,
    pub(super) check: fn(config::Value) -> Result<(), config::ConfigError>,
}

/// A key's value unless it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// This one.
    Value(&'static str),
    /// None; a value could look like this.
    Unset(&'static str),
}

/// A flag that sets a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// What its value is called; a switch has none.
    pub value: Option<&'static str>,
}

impl Flag {
    /// Whether it may be given more than once, or with several values: its value is called so.
    pub fn is_repeatable(&self) -> bool {
        self.value.is_some_and(|name| name.ends_with("..."))
    }
}

impl Key {
    /// Its full name, `section.key`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets it.
    ///
    /// ```
    /// let key = waltz_server::config::keys().find(|key| key.path() == "node.listen").unwrap();
    /// assert_eq!(key.variable(), "WALTZ_NODE__LISTEN");
    /// ```
    pub fn variable(&self) -> String {
        format!("WALTZ_{}__{}", self.section, self.name).to_uppercase()
    }

    /// What it means, as one paragraph.
    pub fn meaning(&self) -> String {
        self.about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// Tells whether a text, as of a variable or a flag, is a value of this key.
    ///
    /// # Errors
    /// Why it is none.
    pub fn check_text(&self, text: &str) -> Result<(), String> {
        self.check_value(layers::value(text)?)
    }

    pub(super) fn check_value(&self, kind: config::ValueKind) -> Result<(), String> {
        (self.check)(config::Value::new(None, kind)).map_err(|error| error.to_string())
    }
}

/// Whether a value is one of this type.
pub(super) fn check<T: DeserializeOwned>(value: config::Value) -> Result<(), config::ConfigError> {
    T::deserialize(value).map(|_| ())
}

/// Writes a section: a struct for serde, and what is known of its keys, from one text.
///
/// ```text
/// section! {
///     /// What the section is about.
///     "name" => NameSettings {
///         /// What the key means, with its unit.
///         key: Type = "default", flag "flag" "VALUE";
///         /// A key without a default has an example and an optional type.
///         other: Option<Type>, such as "example";
///         /// A switch is a flag without a value.
///         third: bool = "false", flag "third";
///     }
/// }
/// ```
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:literal => $section:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $type:ty
                $(= $default:literal)?
                $(, such as $example:literal)?
                $(, flag $flag:literal $($value:literal)?)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $section {
            $($(#[doc = $doc])+ $(#[doc = concat!("\n\nDefault: `", $default, "`.")])? pub $key: $type,)+
        }

        impl $section {
            const SECTION: $crate::config::Section = $crate::config::Section {
                name: $name,
                about: &[$($about),+],
                keys: &[$($crate::config::Key {
                    section: $name,
                    name: stringify!($key),
                    about: &[$($doc),+],
                    initial: section!(@initial $($default)? $(such as $example)?),
                    flag: section!(@flag $($flag $($value)?)?),
                    check: $crate::config::key::check::<$type>,
                }),+],
            };
        }
    };
    (@initial $default:literal) => { $crate::config::Initial::Value($default) };
    (@initial such as $example:literal) => { $crate::config::Initial::Unset($example) };
    (@flag) => { None };
    (@flag $flag:literal) => { Some($crate::config::Flag { name: $flag, value: None }) };
    (@flag $flag:literal $value:literal) => {
        Some($crate::config::Flag { name: $flag, value: Some($value) })
    };
}

pub(super) use section;
