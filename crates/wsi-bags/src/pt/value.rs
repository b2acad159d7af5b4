//! What a restricted unpickler can produce: plain containers and tensors that point into storages.

use crate::element_type::ElementType;

/// A Python value. Containers are indices into [`Objects`], so that values are small, copies share, cycles do no harm
/// and nothing nested is ever dropped recursively.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Bytes,
    Text(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
}

/// The only functions and classes that a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `torch._utils._rebuild_tensor_v2`
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`
    RebuildParameter,
    /// `collections.OrderedDict`
    OrderedDict,
    /// `torch.FloatStorage` and its like.
    Storage(ElementType),
}

impl Global {
    /// Looks the name up; `None` for everything that is not on the list.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", storage) => Self::Storage(match storage {
                "HalfStorage" => ElementType::F16,
                "BFloat16Storage" => ElementType::Bf16,
                "FloatStorage" => ElementType::F32,
                "DoubleStorage" => ElementType::F64,
                "BoolStorage" => ElementType::Bool,
                "ByteStorage" => ElementType::U8,
                "CharStorage" => ElementType::I8,
                "ShortStorage" => ElementType::I16,
                "IntStorage" => ElementType::I32,
                "LongStorage" => ElementType::I64,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

/// A storage as the pickle describes it; its bytes are the record `data/<key>`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storage {
    /// A text.
    pub(super) key: Value,
    pub(super) element_type: ElementType,
    /// Number of elements.
    pub(super) len: u64,
}

/// A tensor as the pickle describes it, not yet compared with its storage.
#[derive(Debug, Clone, Copy)]
pub(super) struct TensorView {
    /// Index of its [`Storage`].
    pub(super) storage: usize,
    /// First element.
    pub(super) offset: u64,
    /// A tuple of sizes.
    pub(super) shape: Value,
    /// A tuple of sizes, in elements.
    pub(super) strides: Value,
}

/// Everything that values point to.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) texts: Vec<String>,
    pub(super) sequences: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<TensorView>,
}

impl Objects {
    /// The text of a value that is one.
    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match value {
            Value::Text(index) => self.texts.get(index).map(String::as_str),
            _ => None,
        }
    }

    /// The items of a tuple.
    pub(super) fn tuple(&self, value: Value) -> Option<&[Value]> {
        match value {
            Value::Tuple(index) => self.sequences.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The numbers of a tuple of integers that are not negative.
    pub(super) fn sizes(&self, value: Value) -> Option<Vec<u64>> {
        let size = |item: &Value| if let Value::Int(size) = item { u64::try_from(*size).ok() } else { None };
        self.tuple(value)?.iter().map(size).collect()
    }

    /// The items of a dict, in the order in which they were set.
    pub(super) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(index) => self.dicts.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// The tensor of a value that is one.
    pub(super) fn tensor(&self, value: Value) -> Option<&TensorView> {
        match value {
            Value::Tensor(index) => self.tensors.get(index),
            _ => None,
        }
    }

    /// The value in words, for messages.
    pub(super) fn describe(&self, value: Value) -> String {
        const SHOWN: usize = 8;
        match value {
            Value::None => "None".to_owned(),
            Value::Bool(_) => "a bool".to_owned(),
            Value::Int(_) => "an integer".to_owned(),
            Value::Float => "a float".to_owned(),
            Value::Bytes => "bytes".to_owned(),
            Value::Text(_) => "a string".to_owned(),
            Value::Tuple(index) => {
                format!("a tuple of {} items", self.sequences.get(index).map_or(0, Vec::len))
            }
            Value::List(index) => {
                format!("a list of {} items", self.sequences.get(index).map_or(0, Vec::len))
            }
            Value::Dict(_) => {
                let items = self.dict(value).unwrap_or_default();
                let keys: Vec<_> = items.iter().filter_map(|(key, _)| self.text(*key)).take(SHOWN).collect();
                let more = if items.len() > keys.len() { ", ..." } else { "" };
                format!("a dict with keys [{}{more}]", keys.join(", "))
            }
            Value::Global(_) => "a class or function".to_owned(),
            Value::Storage(_) => "a storage".to_owned(),
            Value::Tensor(_) => "a tensor".to_owned(),
        }
    }
}
