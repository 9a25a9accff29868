//! [`Query`]: the parameters of `/topics.json`.

use std::str::FromStr;

use crate::sample::By;

/// What is asked for. The README documents each parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) registry: Option<String>,
    /// In lower case.
    pub(crate) filter: String,
    pub(crate) place: Option<String>,
    pub(crate) show: Show,
    pub(crate) sort: Sort,
    pub(crate) is_descending: bool,
    pub(crate) by: By,
    pub(crate) since: Option<Since>,
    pub(crate) open: Vec<u64>,
    pub(crate) limit: usize,
    pub(crate) offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    All,
    Unheard,
    Grown,
    Panicked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Handlers,
    Grown,
    PerSecond,
    Calls,
    Mean,
    Longest,
    Panics,
    Handles,
    Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// The present: what is asked later can be compared with it.
    New,
    /// What was taken then; the present, if that is no longer known.
    Taken(u64),
}

/// How many topics are listed at most, and may be open.
const MOST_LISTED: usize = 10_000;
const MOST_OPEN: usize = 100;

const SHOWS: [(&str, Show); 4] = [
    ("all", Show::All),
    ("unheard", Show::Unheard),
    ("grown", Show::Grown),
    ("panicked", Show::Panicked),
];

const BYS: [(&str, By); 2] = [("place", By::Place), ("name", By::Name)];

const SORTS: [(&str, Sort); 9] = [
    ("handlers", Sort::Handlers),
    ("grown", Sort::Grown),
    ("per_second", Sort::PerSecond),
    ("calls", Sort::Calls),
    ("mean", Sort::Mean),
    ("longest", Sort::Longest),
    ("panics", Sort::Panics),
    ("handles", Sort::Handles),
    ("key", Sort::Key),
];

impl Query {
    /// Parses what follows the `?` of an address. Returns what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut query, mut order) = (Self::default(), None);
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            // Keys and names may begin or end with spaces.
            let value = &*value;
            // A field that a form leaves empty.
            if value.is_empty() {
                continue;
            }
            match &*name {
                "registry" => query.registry = Some(value.to_owned()),
                "filter" => query.filter = value.to_lowercase(),
                "place" => query.place = Some(value.to_owned()),
                "show" => query.show = choose("show", &SHOWS, value)?,
                "sort" => query.sort = choose("sort", &SORTS, value)?,
                "order" => order = Some(choose("order", &[("asc", false), ("desc", true)], value)?),
                "by" => query.by = choose("by", &BYS, value)?,
                "since" if value == "new" => query.since = Some(Since::New),
                "since" => query.since = Some(Since::Taken(number("since", value)?)),
                "limit" => query.limit = number::<usize>("limit", value)?.min(MOST_LISTED),
                "offset" => query.offset = number("offset", value)?,
                "open" => query.open = ids(value)?,
                // That of another version.
                _ => return Err(format!("there is no parameter {name:?}")),
            }
        }
        query.is_descending = order.unwrap_or(query.sort != Sort::Key);
        Ok(query)
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            registry: None,
            filter: String::new(),
            place: None,
            show: Show::All,
            sort: Sort::Handlers,
            is_descending: true,
            by: By::Place,
            since: None,
            open: Vec::new(),
            limit: 200,
            offset: 0,
        }
    }
}

fn choose<T: Copy>(name: &str, choices: &[(&str, T)], given: &str) -> Result<T, String> {
    let found = choices.iter().find(|(text, _)| *text == given);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let texts: Vec<_> = choices.iter().map(|(text, _)| *text).collect();
        format!("{name}={given:?} is none of {}", texts.join(", "))
    })
}

fn number<T: FromStr>(name: &str, given: &str) -> Result<T, String> {
    given.parse().map_err(|_| format!("{name}={given:?} is no number"))
}

fn ids(given: &str) -> Result<Vec<u64>, String> {
    let wrong = |_| format!("open={given:?} is no list of ids with commas");
    let ids = given.split(',').take(MOST_OPEN);
    ids.map(|id| u64::from_str_radix(id, 16).map_err(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_means_the_topics_with_the_most_handlers() {
        for text in ["", "filter=&since=&open=", "&&"] {
            assert_eq!(Query::parse(text), Ok(Query::default()), "{text:?}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(
            "registry=a+b&filter=%C3%84x&place=src%2Fmain.rs%3A1%3A2&show=unheard&sort=key&by=name\
             &since=12&limit=7&offset=3&open=ff,0a",
        );
        let expected = Query {
            registry: Some("a b".into()),
            filter: "äx".into(),
            place: Some("src/main.rs:1:2".into()),
            show: Show::Unheard,
            sort: Sort::Key,
            is_descending: false,
            by: By::Name,
            since: Some(Since::Taken(12)),
            open: vec![255, 10],
            limit: 7,
            offset: 3,
        };
        assert_eq!(query, Ok(expected));
        assert!(Query::parse("sort=key&order=desc").is_ok_and(|query| query.is_descending));
        assert!(Query::parse("order=asc").is_ok_and(|query| !query.is_descending));
    }

    #[test]
    fn lists_are_bounded() {
        let ids = vec!["1"; 5000].join(",");
        let query = Query::parse(&format!("limit=99999999&open={ids}")).expect("it is valid");
        assert_eq!((query.limit, query.open.len()), (MOST_LISTED, MOST_OPEN));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value() {
        for (text, message) in [
            ("sort=color", r#"sort="color" is none of handlers, grown,"#),
            ("limit=-1", r#"limit="-1" is no number"#),
            ("since=yesterday", r#"since="yesterday" is no number"#),
            ("open=1,x", r#"open="1,x" is no list"#),
            ("colour=red", r#"there is no parameter "colour""#),
        ] {
            let error = Query::parse(text).expect_err(text);
            assert!(error.starts_with(message), "{error}");
        }
    }
}
