//! The embedded store's journal: whatever a crash or a disk left of it, the store opens with whole
//! objects, or is refused with words; it is never opened with half of one.

use std::{
    fs,
    path::{Path as FilePath, PathBuf},
    sync::OnceLock,
};

use futures::TryStreamExt;
use lazarus::{env::SystemEnv, store::Store};
use object_store::{ObjectStoreExt, PutPayload, path::Path};

use super::Verdict;

/// How many objects the store held whose journal is taken for another.
const OBJECTS: u32 = 4;

/// `data` as the journal of a store.
pub fn journal(data: &[u8]) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let template = TEMPLATE.get_or_init(|| runtime.block_on(template()));
    let directory = tempfile::tempdir().expect("a directory");
    copy(template.path(), directory.path());
    fs::write(newest(directory.path()), data).expect("the journal is replaced");
    Verdict::of(runtime.block_on(opens(directory.path())))
}

/// The journal of a store with a few objects, without the zeros behind it.
pub fn honest() -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let template = runtime.block_on(template());
    let mut bytes = fs::read(newest(template.path())).expect("the journal");
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

static TEMPLATE: OnceLock<tempfile::TempDir> = OnceLock::new();

async fn template() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await.expect("a new store opens");
    for number in 0..OBJECTS {
        let put = store.objects().put(&key(number), body(number)).await;
        put.expect("it is written");
    }
    drop(store);
    directory
}

fn key(number: u32) -> Path {
    Path::from(format!("run/{number:06}"))
}

fn body(number: u32) -> PutPayload {
    format!("body {number} ").repeat(9).into()
}

async fn open(directory: &FilePath) -> Result<Store, String> {
    let url = format!("embedded:{}", directory.display());
    Store::open(&url, SystemEnv::shared()).await.map_err(|error| error.to_string())
}

/// Whether the store opens; then all that it lists can be read, and what we wrote is whole.
async fn opens(directory: &FilePath) -> bool {
    let store = match open(directory).await {
        Ok(store) => store,
        Err(reason) => {
            assert!(!reason.is_empty(), "a refusal says why");
            return false;
        }
    };
    let listed: Result<Vec<_>, _> = store.objects().list(None).try_collect().await;
    for object in listed.into_iter().flatten() {
        let read = async { store.objects().get(&object.location).await?.bytes().await };
        let Ok(bytes) = read.await else { continue };
        let ours = (0..OBJECTS).find(|number| key(*number) == object.location);
        if let Some(number) = ours {
            let whole: Vec<u8> = body(number).iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(bytes, whole, "half of an object");
        }
    }
    let fresh = Path::from("run/fresh");
    match store.objects().put(&fresh, "fresh".into()).await {
        Ok(_) => {
            let found = store.objects().get(&fresh).await.expect("it was acknowledged");
            assert_eq!(found.bytes().await.expect("and is read"), "fresh");
        }
        Err(error) => {
            let why = error.to_string();
            assert!(!why.contains("is closed"), "the thread that writes has ended: {why}");
        }
    }
    true
}

fn copy(from: &FilePath, to: &FilePath) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir_all(&target).expect("a directory");
            copy(&entry.path(), &target);
        } else if entry.path().extension().is_none_or(|end| end != "jnl") {
            fs::copy(entry.path(), target).expect("a file");
        }
    }
}

/// Where the newest journal stands, or would.
fn newest(directory: &FilePath) -> PathBuf {
    let files = fs::read_dir(directory.join("objects")).expect("a directory");
    let paths = files.map(|file| file.expect("an entry").path());
    let journals = paths.filter(|path| path.extension().is_some_and(|end| end == "jnl"));
    journals.max().unwrap_or_else(|| directory.join("objects").join("0.jnl"))
}
