//! The flags of `waltz serve` that set keys: their names and their help come from the keys.

use clap::builder::TypedValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::key::{Flag, Initial, Key};
use super::keys;
use super::layers::Layer;

/// What the flags of a command line say, key by key.
#[derive(Debug, Clone, Default)]
pub struct Flags(Vec<(&'static Key, Flag, String)>);

impl Flags {
    pub(super) fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        for (key, flag, text) in &self.0 {
            layer.set_text(key, format!("--{}", flag.name), text);
        }
        layer
    }
}

fn flags() -> impl Iterator<Item = (&'static Key, Flag)> {
    keys().filter_map(|key| Some((key, key.flag?)))
}

fn argument(key: &'static Key, flag: Flag) -> Arg {
    let help = match key.initial {
        Initial::Value(text) if flag.value.is_some() && text != "[]" => {
            format!("{} [default: {text}]", key.meaning())
        }
        _ => key.meaning(),
    };
    let read = move |text: &str| key.check_text(text).map(|()| text.to_owned());
    let argument = Arg::new(flag.name).long(flag.name).help(help);
    let parser = clap::builder::StringValueParser::new().try_map(move |text| read(&text));
    match flag.value {
        Some(name) if flag.is_repeatable() => {
            let name = name.trim_end_matches("...");
            argument.value_name(name).action(ArgAction::Append).value_parser(parser)
        }
        Some(name) => argument.value_name(name).value_parser(parser),
        None => argument.action(ArgAction::SetTrue),
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(flags().map(|(key, flag)| argument(key, flag)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let given = flags().filter_map(|(key, flag)| {
            let text = match flag.value {
                None => matches.get_flag(flag.name).then(|| "true".to_owned()),
                Some(_) => matches
                    .get_many::<String>(flag.name)
                    .map(|texts| texts.cloned().collect::<Vec<_>>().join(",")),
            };
            Some((key, flag, text?))
        });
        self.0.extend(given);
        Ok(())
    }
}
