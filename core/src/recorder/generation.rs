//! A state of a node, and what it was given from there on.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::Fingerprint;
use crate::io::Input;
use crate::node::Node;
use crate::time::Time;

/// Inputs are encoded as they come. A copy of their bytes costs less than to share them: buffers
/// that nobody else holds are used again, by sockets and by the machine, and so are these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Generation {
    /// The number of its first input in the node's life, from 0.
    pub(super) first: u64,
    /// The node's encoded state before that input.
    pub(super) base: Vec<u8>,
    /// When each input was taken, and the input, encoded, end to end.
    inputs: Vec<u8>,
    pub(super) steps: Vec<Taken>,
}

/// One input's part of the buffer, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    end: usize,
    pub(super) effects: Option<Fingerprint>,
}

impl Generation {
    /// Forgets everything, keeps the room for it, and begins with the node as it is.
    pub(super) fn restart(mut self, first: u64, node: &Node) -> Self {
        self.first = first;
        self.base.clear();
        self.inputs.clear();
        self.steps.clear();
        append(&mut self.base, node);
        self
    }

    /// The number of the input after its last one.
    pub(super) fn end(&self) -> u64 {
        self.first + self.steps.len() as u64
    }

    /// How much memory the inputs hold.
    pub(super) fn bytes(&self) -> usize {
        self.inputs.len() + size_of_val(self.steps.as_slice())
    }

    /// An input that is about to be taken.
    pub(super) fn push(&mut self, now: Time, input: &Input) {
        append(&mut self.inputs, &(now, input));
        self.steps.push(Taken { end: self.inputs.len(), effects: None });
    }

    /// What came of the last input.
    pub(super) fn finish(&mut self, effects: Fingerprint) {
        self.steps.last_mut().expect("an input comes before its effects").effects = Some(effects);
    }

    /// Each input as an encoded [`Recorded`](super::Recorded).
    pub(super) fn encoded(&self) -> impl Iterator<Item = Vec<u8>> {
        let mut start = 0;
        self.steps.iter().map(move |step| {
            let mut recorded = self.inputs[start..step.end].to_vec();
            append(&mut recorded, &step.effects);
            start = step.end;
            recorded
        })
    }
}

/// Encodes a value at the end of a buffer.
pub(super) fn append<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) {
    postcard::serialize_with_flavor(value, Append(buffer))
        .expect("what is recorded has an encoding");
}

struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Recorded;

    #[test]
    fn an_input_and_its_effects_are_the_encoding_of_what_was_recorded() {
        let mut generation = Generation::default();
        let mut expected = Vec::new();
        for (number, input) in [Input::Timer, Input::Shutdown, Input::EndOfTurn].iter().enumerate()
        {
            let (now, effects) = (Time(number as u64), Fingerprint::of(&number));
            generation.push(now, input);
            let recorded = Recorded { now, input: input.clone(), effects: None };
            let unfinished = generation.encoded().last().unwrap();
            assert_eq!(unfinished, postcard::to_stdvec(&recorded).unwrap());
            generation.finish(effects);
            let recorded = Recorded { effects: Some(effects), ..recorded };
            expected.push(postcard::to_stdvec(&recorded).unwrap());
        }
        assert_eq!(generation.encoded().collect::<Vec<_>>(), expected);
    }
}
