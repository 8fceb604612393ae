//! What may happen next, and which two of those may change places without anybody noticing.

use std::{fmt, sync::Arc};

use super::super::weather::{Fault, Op};

/// A request to the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which process sent it, by its place in the schedule.
    pub process: usize,
    /// The how-manieth request of that process it is.
    pub serial: u32,
    pub op: Op,
    /// The key, or the folder that is listed.
    pub key: Arc<str>,
}

/// What may happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A request is applied and answered.
    Goes(Sent),
    /// A request is befallen by a fault.
    Befalls(Sent, Fault),
    /// A process dies. Its reads are gone; its writes are under way, and may land.
    Dies(usize),
    /// A write whose sender is dead or has given up is applied.
    Lands(Sent),
    /// Nothing else can run: time goes on to the next appointment.
    TimePasses,
    /// Time goes on to the next moment of the scenario although requests are under way.
    TimeLeaps,
    /// The scenario is over, and everything is brought to an end.
    Ends,
}

impl Choice {
    /// Whether it is one of the misfortunes of which a schedule has so many at most.
    pub fn is_misfortune(&self) -> bool {
        matches!(self, Self::Befalls(..) | Self::Dies(_) | Self::TimeLeaps)
    }

    /// The process whose own doing it is.
    pub fn mover(&self) -> Option<usize> {
        match self {
            Self::Goes(sent) | Self::Befalls(sent, _) => Some(sent.process),
            Self::Dies(process) => Some(*process),
            Self::Lands(_) | Self::TimePasses | Self::TimeLeaps | Self::Ends => None,
        }
    }

    /// What it does to the bucket.
    fn access(&self) -> Option<&Sent> {
        match self {
            Self::Goes(sent)
            | Self::Lands(sent)
            | Self::Befalls(sent, Fault::OwnWriteExists | Fault::AppliedTwice) => Some(sent),
            Self::Befalls(..) | Self::Dies(_) | Self::TimePasses | Self::TimeLeaps | Self::Ends => {
                None
            }
        }
    }

    /// Whether both orders of the two lead to the same world, with the same said to everybody and the
    /// same seen by the audit on the way.
    pub fn commutes(&self, other: &Self) -> bool {
        let is_of_all = |it: &Self| matches!(it, Self::TimePasses | Self::TimeLeaps | Self::Ends);
        let is_one_process = self.mover().is_some() && self.mover() == other.mover();
        let share_a_bound = self.is_misfortune() && other.is_misfortune();
        if is_of_all(self) || is_of_all(other) || is_one_process || share_a_bound {
            return false;
        }
        match (self.access(), other.access()) {
            (Some(one), Some(other)) => !one.conflicts(other),
            _ => true,
        }
    }
}

impl Sent {
    pub fn is_write(&self) -> bool {
        matches!(self.op, Op::Create | Op::Put | Op::Delete)
    }

    /// Whether it reads what nobody writes any more once the stage is set: when it is answered makes no
    /// difference to anybody.
    pub fn is_of_what_stays(&self) -> bool {
        let stays = ["blueprint/", "worker/"].iter().any(|folder| self.key.starts_with(folder));
        stays && !self.is_write()
    }

    fn conflicts(&self, other: &Self) -> bool {
        match (self.is_write(), other.is_write()) {
            (false, false) => false,
            (false, true) => self.sees(other),
            (true, false) => other.sees(self),
            (true, true) => self.clashes(other) || other.clashes(self),
        }
    }

    /// Whether a read depends on a write.
    fn sees(&self, write: &Self) -> bool {
        if self.op != Op::List {
            return self.key == write.key;
        }
        write.key.strip_prefix(&*self.key).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Two writes. The audit looks at log and wake index together, whenever either changes; two puts
    /// of wake entries, or two deletes, are the same to it in either order.
    fn clashes(&self, other: &Self) -> bool {
        let is_wake = |it: &Self| it.key.starts_with("wake/");
        let is_commit = |it: &Self| it.key.starts_with("id/") || it.key.starts_with("run/");
        let is_delete = |it: &Self| it.op == Op::Delete;
        self.key == other.key
            || (is_commit(self) && (is_commit(other) || is_wake(other)))
            || (is_wake(self) && is_wake(other) && is_delete(self) != is_delete(other))
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, serial: _, op, key } = self;
        write!(out, "{op:?} {key} of instance {process}")
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goes(sent) => write!(out, "{sent}"),
            Self::Befalls(sent, fault) => write!(out, "{sent} -- {}", fault.words(sent.op)),
            Self::Dies(process) => write!(out, "instance {process} dies"),
            Self::Lands(sent) => write!(out, "{sent} lands late"),
            Self::TimePasses => out.write_str("time passes"),
            Self::TimeLeaps => out.write_str("time leaps while requests are under way"),
            Self::Ends => out.write_str("the scenario is over"),
        }
    }
}
