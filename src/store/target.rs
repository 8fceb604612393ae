//! Reads a store's URL: which kind of store, and where.

use std::path::PathBuf;

use url::Url;

/// Where a URL points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `memory:`
    Memory,
    /// `embedded:DIR`
    Embedded { directory: PathBuf },
    /// `file:///dir`
    File { directory: PathBuf },
    /// `s3://bucket/prefix`, `gs://..`, `az://..`
    Bucket { cloud: Cloud, bucket: String, prefix: String },
}

/// Whose protocol a bucket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cloud {
    S3,
    Google,
    Azure,
}

/// The target of `url`; none when it has no form that we know.
pub(super) fn parse(url: &str) -> Option<Target> {
    if matches!(url, "memory:" | "memory://" | "memory:///") {
        return Some(Target::Memory);
    }
    if let Some(directory) = url.strip_prefix("embedded:") {
        return (!directory.is_empty()).then(|| Target::Embedded { directory: directory.into() });
    }
    let parsed = Url::parse(url).ok()?;
    let cloud = match parsed.scheme() {
        // A relative path would be read as one from the root.
        "file" if !url.starts_with("file:///") => return None,
        "file" => return parsed.to_file_path().ok().map(|directory| Target::File { directory }),
        "s3" => Cloud::S3,
        "gs" => Cloud::Google,
        "az" => Cloud::Azure,
        _ => return None,
    };
    let bucket = parsed.host_str().filter(|bucket| !bucket.is_empty())?.to_owned();
    let prefix = parsed.path().trim_matches('/').to_owned();
    Some(Target::Bucket { cloud, bucket, prefix })
}

/// `url` as it may be shown: without user, password, query and fragment.
pub(super) fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return bare.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(cloud: Cloud, bucket: &str, prefix: &str) -> Target {
        Target::Bucket { cloud, bucket: bucket.to_owned(), prefix: prefix.to_owned() }
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(parse("memory:"), Some(Target::Memory));
        assert_eq!(parse("embedded:./data"), Some(Target::Embedded { directory: "./data".into() }));
        assert_eq!(
            parse("file:///srv/store"),
            Some(Target::File { directory: "/srv/store".into() })
        );
        assert_eq!(parse("s3://orders"), Some(bucket(Cloud::S3, "orders", "")));
        assert_eq!(parse("s3://orders/a/b/"), Some(bucket(Cloud::S3, "orders", "a/b")));
        assert_eq!(parse("gs://orders/a"), Some(bucket(Cloud::Google, "orders", "a")));
        assert_eq!(parse("az://orders/a"), Some(bucket(Cloud::Azure, "orders", "a")));
    }

    #[test]
    fn anything_else_is_none() {
        for url in [
            "",
            "orders",
            "/srv/store",
            "embedded:",
            "s3://",
            "s3:/x",
            "http://x/y",
            "file:",
            "file:x",
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(shown("s3://key:secret@orders/a?token=secret"), "s3://orders/a");
        assert_eq!(shown("embedded:./data"), "embedded:./data");
        assert_eq!(shown("file:///srv/store"), "file:///srv/store");
    }
}
