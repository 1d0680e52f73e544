//! Fields of the state file: lists and maps that are read within bounds whatever their length, and types of other rooms.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::probe::observation::{Fate, Instance, place_rank};
use crate::probe::stats::Counters;

/// Maximum number of instances that are remembered by id. Those beyond are counted only, so that the state stays small whatever a
/// service says.
pub const MAX_INSTANCES: usize = 4096;

/// Maximum number of metadata entries of an instance.
const MAX_METADATA: usize = 64;

/// Reads the first `MAX` items of a list.
pub fn at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(ListVisitor::<MAX, T>(PhantomData))
}

struct ListVisitor<const MAX: usize, T>(PhantomData<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for ListVisitor<MAX, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while items.len() < MAX {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }
}

/// An instance.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Instance")]
pub struct InstanceFields {
    id: String,
    #[serde(with = "Metadata")]
    metadata: Vec<(String, String)>,
    version: String,
}

#[derive(Deserialize)]
struct Item(#[serde(with = "InstanceFields")] Instance);

#[derive(Serialize)]
struct ItemRef<'a>(#[serde(serialize_with = "InstanceFields::serialize")] &'a Instance);

/// A list of instances.
pub struct InstanceList;

impl InstanceList {
    pub fn serialize<S: Serializer>(instances: &[Instance], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(instances.iter().map(ItemRef))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Instance>, D::Error> {
        let items = at_most::<MAX_INSTANCES, Item, D>(deserializer)?;
        Ok(items.into_iter().map(|item| item.0).collect())
    }
}

/// A map of texts that keeps its order; what names the place comes first, whatever has sorted the file by name.
pub struct Metadata;

impl Metadata {
    pub fn serialize<S: Serializer>(metadata: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(metadata.iter().map(|(key, value)| (key, value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
        let mut metadata = deserializer.deserialize_map(MapVisitor)?;
        metadata.sort_by_key(|(key, _)| place_rank(key));
        Ok(metadata)
    }
}

struct MapVisitor;

impl<'de> Visitor<'de> for MapVisitor {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while pairs.len() < MAX_METADATA {
            match map.next_entry()? {
                Some(pair) => pairs.push(pair),
                None => return Ok(pairs),
            }
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(pairs)
    }
}

#[derive(Serialize, Deserialize)]
struct PlacedFields {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<(String, String)>,
    version: String,
}

/// An instance of which only the place is kept of the metadata: key and value.
pub struct PlacedInstance;

impl PlacedInstance {
    pub fn serialize<S: Serializer>(instance: &Instance, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = PlacedFields {
            id: instance.id.clone(),
            place: instance.metadata.first().cloned(),
            version: instance.version.clone(),
        };
        fields.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instance, D::Error> {
        let PlacedFields { id, place, version } = PlacedFields::deserialize(deserializer)?;
        Ok(Instance {
            id,
            version,
            metadata: place.into_iter().collect(),
        })
    }
}

/// The word for a fate.
pub struct FateWord;

impl FateWord {
    pub fn serialize<S: Serializer>(fate: &Fate, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(fate.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fate, D::Error> {
        Fate::parse(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("no fate"))
    }
}

/// A digest, in hexadecimal.
pub struct HexDigest;

impl HexDigest {
    pub fn serialize<S: Serializer>(digest: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        digest.map(|digest| format!("{digest:016x}")).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let digest = text.map(|text| u64::from_str_radix(&text, 16)).transpose();
        digest.map_err(D::Error::custom)
    }
}

/// Counters: requests, errors, nanoseconds of processing.
pub struct CounterTriple;

impl CounterTriple {
    pub fn serialize<S: Serializer>(counters: &Counters, serializer: S) -> Result<S::Ok, S::Error> {
        (counters.requests, counters.errors, counters.processing).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Counters, D::Error> {
        let (requests, errors, processing) = Deserialize::deserialize(deserializer)?;
        Ok(Counters {
            requests,
            errors,
            processing,
        })
    }
}
