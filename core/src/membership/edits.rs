//! Changes that operators and servers want recorded, until they are.
//!
//! All edits of one key that wait are written together, in the order they came; a write that came
//! too late is made again on what stands there now. An edit outlives the connection to the
//! coordinator: it waits for the next one, until its deadline if it has one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::membership::{Edit, Fact, Name};
use crate::time::Time;
use crate::wire::OperatorRefusal;

/// The most edits that may wait at once.
const MOST: usize = 4096;

/// Numbers the edits of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EditId(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    edit: Edit,
    deadline: Option<Time>,
}

/// What a key is to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Write {
    /// This.
    Set(Fact),
    /// Nothing: there is to be no such key.
    Delete(Name),
}

impl Write {
    /// The key.
    pub(super) fn name(&self) -> Name {
        match self {
            Self::Set(fact) => fact.name(),
            Self::Delete(name) => *name,
        }
    }
}

/// What the edits of one key come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    /// What is to be written to have all of them made; `None`: it stands already.
    pub(super) write: Option<Write>,
    /// Which edits that is.
    pub(super) made: Vec<EditId>,
    /// The others, and why they can't be made.
    pub(super) refused: Vec<(EditId, OperatorRefusal)>,
}

/// The edits that are not recorded yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Edits {
    last: u64,
    waiting: BTreeMap<EditId, Waiting>,
}

impl Edits {
    /// Takes an edit in.
    ///
    /// # Errors
    /// When too many wait already.
    pub(super) fn add(
        &mut self,
        edit: Edit,
        deadline: Option<Time>,
    ) -> Result<EditId, OperatorRefusal> {
        if self.waiting.len() >= MOST {
            return Err(OperatorRefusal::Busy);
        }
        self.last += 1;
        let id = EditId(self.last);
        self.waiting.insert(id, Waiting { edit, deadline });
        Ok(id)
    }

    /// The keys that are to be changed.
    pub(super) fn names(&self) -> BTreeSet<Name> {
        self.waiting.values().map(|waiting| waiting.edit.name()).collect()
    }

    /// What the edits of a key come to, given what stands there.
    pub(super) fn fold(&self, name: Name, current: Option<Fact>) -> Folded {
        let mut fact = current.clone();
        let (mut made, mut refused) = (Vec::new(), Vec::new());
        for (&id, waiting) in self.waiting.iter().filter(|(_, one)| one.edit.name() == name) {
            match waiting.edit.apply(fact.clone()) {
                Ok(changed) => {
                    fact = changed;
                    made.push(id);
                }
                Err(refusal) => refused.push((id, refusal)),
            }
        }
        let write = (fact != current).then(|| fact.map_or(Write::Delete(name), Write::Set));
        Folded { write, made, refused }
    }

    /// An edit has ended; false if it had before.
    pub(super) fn end(&mut self, id: EditId) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// When the next one is given up.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.waiting.values().filter_map(|waiting| waiting.deadline).min()
    }

    /// Takes out those whose time is over.
    pub(super) fn expire(&mut self, now: Time) -> Vec<EditId> {
        let due = |waiting: &Waiting| waiting.deadline.is_some_and(|deadline| deadline <= now);
        let expired: Vec<_> =
            self.waiting.iter().filter(|(_, one)| due(one)).map(|(id, _)| *id).collect();
        for id in &expired {
            self.waiting.remove(id);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{
        CreationId, Member, NodeId, PartitionId, ReplicaSet, SetVersion, StorageId, TransactionId,
    };
    use crate::membership::{Directory, PartitionMeta, Target};

    const PARTITION: PartitionId = PartitionId(3);
    const CREATION: CreationId = CreationId(5);

    fn set(nodes: &[u32]) -> ReplicaSet {
        let member = |node: &u32| Member { node: NodeId(*node), storage: StorageId(1) };
        ReplicaSet(nodes.iter().map(member).collect())
    }

    fn committed(creation: CreationId, version: u64, nodes: &[u32]) -> Edit {
        let (version, replicas) = (SetVersion(version), set(nodes));
        Edit::Committed { partition: PARTITION, creation, version, replicas }
    }

    fn advance(consumer: &str, id: u64) -> Edit {
        let (consumer, mark) = (consumer.to_owned(), TransactionId(id).mark());
        Edit::AdvanceConsumer { partition: PARTITION, consumer, mark }
    }

    fn directory() -> Directory {
        let mut directory = Directory::default();
        let (version, replicas) = (SetVersion(2), set(&[1, 2]));
        let meta = PartitionMeta { creation: CREATION, version, replicas };
        directory.partitions.insert(PARTITION, meta);
        directory
    }

    fn fold(edits: &Edits, name: Name, directory: &Directory) -> Folded {
        edits.fold(name, directory.fact(name))
    }

    #[test]
    fn replica_sets_only_grow_in_version() {
        let cases = [
            (committed(CREATION, 3, &[1]), Some(SetVersion(3))),
            (committed(CREATION, 2, &[1]), None),
            (committed(CREATION, 1, &[1]), None),
            (committed(CreationId(6), 9, &[1]), None),
        ];
        for (edit, expected) in cases {
            let mut edits = Edits::default();
            let id = edits.add(edit, None).expect("there is room");
            let folded = fold(&edits, Name::Partition(PARTITION), &directory());
            let version = folded.write.map(|write| match write {
                Write::Set(Fact::Partition(_, meta)) => meta.version,
                other => panic!("{other:?} is no partition"),
            });
            assert_eq!((version, folded.made), (expected, vec![id]));
        }
    }

    #[test]
    fn edits_of_one_key_are_made_together_and_refused_alone() {
        let mut edits = Edits::default();
        let remove = |consumer: &str| Edit::RemoveConsumer {
            partition: PARTITION,
            consumer: consumer.to_owned(),
        };
        let mut ids = Vec::new();
        for edit in [advance("a", 4), remove("b"), advance("a", 7), advance("c", 1), remove("c")] {
            ids.push(edits.add(edit, None).expect("there is room"));
        }
        let folded = fold(&edits, Name::Consumers(PARTITION), &directory());
        let Some(Write::Set(Fact::Consumers(_, consumers))) = folded.write else {
            panic!("consumers change")
        };
        assert_eq!(consumers.iter().collect::<Vec<_>>(), [("a", TransactionId(7).mark())]);
        assert_eq!(folded.made, [ids[0], ids[2], ids[3], ids[4]]);
        let unknown = OperatorRefusal::UnknownConsumer { name: "b".to_owned() };
        assert_eq!(folded.refused, [(ids[1], unknown)]);
    }

    #[test]
    fn what_stands_already_is_not_written_again() {
        let mut directory = directory();
        let target = Target { members: set(&[1, 4]), force_above: None };
        directory.targets.insert(PARTITION, target.clone());
        let mut edits = Edits::default();
        let id = edits.add(Edit::Target { partition: PARTITION, target }, None).expect("room");
        let folded = fold(&edits, Name::Target(PARTITION), &directory);
        assert_eq!((folded.write, folded.made), (None, vec![id]));
    }

    #[test]
    fn an_edit_is_given_up_at_its_deadline_and_their_number_is_bounded() {
        let mut edits = Edits::default();
        let first = edits.add(advance("a", 1), Some(Time(5))).expect("there is room");
        let second = edits.add(advance("a", 2), None).expect("there is room");
        assert_eq!(edits.deadline(), Some(Time(5)));
        assert_eq!((edits.expire(Time(4)), edits.expire(Time(5))), (vec![], vec![first]));
        assert!(!edits.end(first) && edits.end(second));
        for number in 0..MOST as u64 {
            edits.add(advance("a", number), None).expect("there is room");
        }
        assert_eq!(edits.add(advance("a", 0), None), Err(OperatorRefusal::Busy));
    }
}
