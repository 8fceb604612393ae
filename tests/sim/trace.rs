//! What happened, in words; the same words for the same seed, to the byte.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex},
};

use super::{mercy::Mercy, timeline::Timeline};

/// Stands in each line about a misfortune.
pub const MARK: &str = " -- ";

#[derive(Default)]
struct Book {
    text: Option<String>,
    fault: Option<String>,
    counts: BTreeMap<&'static str, u64>,
    misfortunes: BTreeMap<&'static str, u64>,
    /// How many misfortunes were due.
    due: u64,
}

/// The record of one world: what happened if anybody wants to read it, what was counted, and what
/// must not have happened.
#[derive(Clone)]
pub struct Trace {
    timeline: Timeline,
    mercy: Arc<Mercy>,
    book: Arc<Mutex<Book>>,
}

impl Trace {
    /// An empty one; `is_read`: whether words are kept at all.
    pub fn new(timeline: Timeline, mercy: Mercy, is_read: bool) -> Self {
        let book = Book { text: is_read.then(String::new), ..Book::default() };
        Self { timeline, mercy: Arc::new(mercy), book: Arc::new(Mutex::new(book)) }
    }

    /// Counts a misfortune that is due. Whether it happens: unless this history is spared it.
    pub fn befalls(&self, what: &'static str) -> bool {
        let mut book = self.book.lock().expect("one thread");
        book.due += 1;
        if self.mercy.spares(book.due, what) {
            return false;
        }
        *book.misfortunes.entry(what).or_default() += 1;
        drop(book);
        self.note(|| format!("{MARK}{what}"));
        true
    }

    /// How many misfortunes were due, and how many of each kind happened.
    pub fn misfortunes(&self) -> (u64, BTreeMap<&'static str, u64>) {
        let book = self.book.lock().expect("one thread");
        (book.due, book.misfortunes.clone())
    }

    /// Notes what happened.
    pub fn note(&self, words: impl FnOnce() -> String) {
        let mut book = self.book.lock().expect("one thread");
        if let Some(text) = &mut book.text {
            let now = self.timeline.now();
            let (seconds, micros) = (now.as_secs(), now.subsec_micros());
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let words = words();
            writeln!(text, "{hours:02}:{minutes:02}:{seconds:02}.{micros:06} {words}")
                .expect("text grows");
        }
    }

    /// Notes what must not happen; the first one ends the history.
    pub fn fault(&self, words: String) {
        self.note(|| format!("*** {words}"));
        let mut book = self.book.lock().expect("one thread");
        book.fault.get_or_insert(words);
    }

    /// The first thing that must not have happened.
    pub fn first_fault(&self) -> Option<String> {
        self.book.lock().expect("one thread").fault.clone()
    }

    /// Counts one `what`.
    pub fn count(&self, what: &'static str) {
        *self.book.lock().expect("one thread").counts.entry(what).or_default() += 1;
    }

    /// What was counted.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.book.lock().expect("one thread").counts.clone()
    }

    /// Everything that was noted.
    pub fn text(&self) -> String {
        self.book.lock().expect("one thread").text.clone().unwrap_or_default()
    }
}
