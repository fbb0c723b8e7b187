//! What a program makes of bytes that nobody wrote: a small journal is changed as bytes tell, by a
//! random generator or by a fuzzer that looks at coverage, and then looked at, opened and read.
//!
//! Two kinds of change have a verdict each. Damage leaves checksums as they are: nothing may be
//! found that was not written, and nothing be missing in silence. A forgery makes checksums
//! right again, so that what lies behind them is reached: no more can be asked of it than an orderly end.

mod choices;
mod forgery;
mod mutation;
mod structure;
mod verdict;

use std::sync::LazyLock;

use choices::Choices;
use structure::Structure;

use super::files::Contents;
use super::sample;

/// The journal before anything happened to it.
static SOUND: LazyLock<(Contents, Structure)> = LazyLock::new(|| {
    let contents = sample::write();
    let structure = Structure::of(&contents);
    (contents, structure)
});

/// Changes the journal as these bytes tell, and checks what is made of it.
///
/// # Panics
/// When a promise is broken, or what is checked panics.
pub(crate) fn check(input: &[u8]) {
    let (sound, structure) = &*SOUND;
    let mut choices = Choices::new(input);
    let mut changed = sound.clone();
    let is_forged = choices.below(3) == 0;
    for _ in 0..1 + choices.below(6) {
        mutation::apply(&mut changed, structure, &mut choices);
    }
    if is_forged {
        forgery::apply(&mut changed);
        verdict::of_forgery(&changed);
    } else {
        verdict::of_damage(sound, structure, &changed);
    }
}
