//! One JSON value as the text extractor sees it: only the members that may lead
//! to text, and each may be anything. A derived struct would refuse an object
//! whose `event` is a string where it expects an object; this one looks past it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A JSON value. Text without escapes is borrowed from the input.
pub(super) enum Node<'a> {
    Text(Cow<'a, str>),
    Object(Box<Object<'a>>),
    List(Vec<Self>),
    Other,
}

impl<'a> Node<'a> {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }
}

macro_rules! members {
    ($($field:ident = $name:literal,)+) => {
        /// The members that may lead to text.
        #[derive(Default)]
        pub(super) struct Object<'a> { $(pub(super) $field: Option<Node<'a>>,)+ }

        #[allow(non_camel_case_types, reason = "named like the members they stand for")]
        enum Key { $($field,)+ Unknown }

        impl Key {
            fn named(name: &str) -> Self {
                match name { $($name => Self::$field,)+ _ => Self::Unknown }
            }
        }

        impl<'a> Object<'a> {
            fn member(&mut self, key: &Key) -> Option<&mut Option<Node<'a>>> {
                match key { $(Key::$field => Some(&mut self.$field),)+ Key::Unknown => None }
            }
        }
    };
}

members! {
    content = "content",
    content_block_delta = "contentBlockDelta",
    content_block_index = "contentBlockIndex",
    data = "data",
    delta = "delta",
    error = "error",
    event = "event",
    kind = "type",
    message = "message",
    output = "output",
    response = "response",
    result = "result",
    role = "role",
    text = "text",
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(Key::named(name))
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node<'de>, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node<'de>, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node<'de>, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node<'de>, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node<'de>, A::Error> {
        let mut object = Box::<Object<'de>>::default();
        while let Some(key) = members.next_key::<Key>()? {
            match object.member(&key) {
                Some(member) => *member = Some(members.next_value()?),
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Node::Object(object))
    }
}
