//! The flags of `fit` that are hyper-parameters: one for each line of the library's table.

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use twinlearn::{
    HyperparameterInfo, Hyperparameters, NetworkSpec, ParamsBuilder, Result, Value, ValueKind,
};

/// Those that were given, with their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenHyperparameters(Vec<(&'static str, Value)>);

impl GivenHyperparameters {
    /// The value of one of them.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// Sets them.
    pub(crate) fn set(&self, builder: ParamsBuilder) -> Result<ParamsBuilder> {
        self.0.iter().try_fold(builder, |builder, (name, value)| builder.set(name, value))
    }
}

impl Args for GivenHyperparameters {
    fn augment_args(command: Command) -> Command {
        command.args(Hyperparameters::TABLE.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GivenHyperparameters {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(
        &mut self,
        matches: &ArgMatches,
    ) -> std::result::Result<(), clap::Error> {
        let values = Hyperparameters::TABLE.iter().filter_map(|info| {
            let name = info.name;
            let value = match info.kind {
                ValueKind::Whole => Value::Whole(*matches.get_one(name)?),
                ValueKind::Real => Value::Real(*matches.get_one(name)?),
                ValueKind::Truth => matches.get_flag(name).then_some(Value::Truth(true))?,
                ValueKind::Sizes => Value::Sizes(matches.get_many(name)?.copied().collect()),
                _ => Value::Text(matches.get_one::<String>(name)?.clone()),
            };
            Some((name, value))
        });
        self.0 = values.collect();
        Ok(())
    }
}

fn flag(info: &HyperparameterInfo) -> Arg {
    let arg = Arg::new(info.name).long(info.name.replace('_', "-")).help(help(info));
    let arg = match info.name {
        "n_components" => arg.short('d'),
        "n_neighbors" => arg.short('k'),
        _ => arg,
    };
    if info.kind == ValueKind::Truth {
        return arg.action(ArgAction::SetTrue);
    }
    let arg = arg.value_name(info.placeholder);
    match info.kind {
        ValueKind::Whole => arg.value_parser(value_parser!(u64)),
        ValueKind::Real => arg.value_parser(value_parser!(f64)),
        ValueKind::Sizes => {
            arg.value_parser(value_parser!(usize)).value_delimiter(',').action(ArgAction::Append)
        }
        ValueKind::Choice(names) => arg.value_parser(PossibleValuesParser::new(names)),
        ValueKind::Network => arg.value_parser(network(info.name, false)),
        ValueKind::NetworkOrNone => arg.value_parser(network(info.name, true)),
        _ => arg,
    }
}

/// What it is and the default, without a stop at the end, as in clap's other lines.
fn help(info: &HyperparameterInfo) -> String {
    let doc = info.doc.trim().trim_end_matches('.');
    match info.kind {
        ValueKind::Truth => doc.to_owned(),
        _ => format!("{doc} [default: {}]", info.default),
    }
}

/// Checks a network where it is typed; it is read by the library.
fn network(name: &'static str, or_none: bool) -> ValueParser {
    ValueParser::new(move |text: &str| match text {
        "none" if or_none => Ok(text.to_owned()),
        text => NetworkSpec::parse_named(name, text).map(|_| text.to_owned()),
    })
}
