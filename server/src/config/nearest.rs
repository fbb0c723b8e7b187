//! What somebody may have meant.

/// How alike two names have to be, from 0 to 1, for one to be meant by the other.
const ALIKE: f64 = 0.6;

/// The known name that is most like this one, if any is.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let alike = known.map(|known| (strsim::normalized_damerau_levenshtein(name, &known), known));
    let best = alike.max_by(|(left, _), (right, _)| left.total_cmp(right));
    best.filter(|(alike, _)| *alike >= ALIKE).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_nonsense_is_not() {
        let known = || ["node.listen", "node.id", "log.filter"].map(str::to_owned).into_iter();
        assert_eq!(nearest("node.lisen", known()).as_deref(), Some("node.listen"));
        assert_eq!(nearest("log.filtre", known()).as_deref(), Some("log.filter"));
        assert_eq!(nearest("zzz", known()), None);
    }
}
