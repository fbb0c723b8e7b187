//! How the program ends.

use std::process::ExitCode;

use waltz_client::{
    AppendError, AppendRefusal, ConnectError, OperateError, Refusal, RefusedAppend,
};

/// What a command that ran to its end has to say to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done as asked.
    Success,
    /// Something that must hold does not, or could not be done.
    Failure,
    /// A lock refused an append.
    Conflict,
    /// A replay did not go as it was recorded.
    Different,
    /// Whoever asked may not do that.
    Denied,
}

impl From<Exit> for ExitCode {
    /// 2 is not among them: the command line parser ends with it on wrong usage.
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failure => Self::from(1),
            Exit::Conflict => Self::from(3),
            Exit::Different => Self::from(4),
            Exit::Denied => Self::from(5),
        }
    }
}

impl Exit {
    /// How a command ends that failed with this.
    pub fn of(error: &anyhow::Error) -> Self {
        match error.chain().any(is_denied) {
            true => Self::Denied,
            false => Self::Failure,
        }
    }
}

fn is_denied(cause: &(dyn std::error::Error + 'static)) -> bool {
    let at_hello = cause.downcast_ref::<ConnectError>();
    let as_operator = cause.downcast_ref::<OperateError>();
    matches!(at_hello, Some(ConnectError::Refused(Refusal::Access(_))))
        || matches!(as_operator, Some(OperateError::Denied(_)))
        || cause.downcast_ref::<AppendError>().is_some_and(is_denied_append)
}

/// Whether an append was refused to who sent it, and not for what it is.
pub fn is_denied_append(error: &AppendError) -> bool {
    matches!(error, AppendError::Refused(RefusedAppend::Server(AppendRefusal::Access(_))))
}

/// Whether the reader of our output has gone, as `waltz feed | head` does: no failure of ours.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// An error and its causes in one line. A cause that an error already tells of is not repeated.
pub fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text += ": ";
        }
        text += &cause;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("no space").context("can't write a: no space").context("no");
        assert_eq!(explain(&error), "no: can't write a: no space");
    }

    #[test]
    fn a_reader_that_has_gone_is_recognised() {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(gone).context("could not print")));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
