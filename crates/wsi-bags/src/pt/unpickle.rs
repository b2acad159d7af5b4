//! A pickle reader that runs nothing: it knows the instructions `torch.save` uses and four harmless callables.
//!
//! Pickles are programs. This interpreter has no way to import or call anything: a name that is not in
//! [`Global::named`] ends the reading with that name. Every instruction creates at most one value of a fixed size, beside the
//! bytes that it reads itself and the items that it takes off the stack: what is named again is pointed to, never copied.
//! So memory is bounded by some hundred bytes for each of the pickle, whose length is bounded by [`MAX_BYTES`].

use std::collections::HashMap;

use crate::error::ErrorKind;

use super::bytes::Bytes;
use super::value::{Global, Objects, Storage, TensorView, Value};

/// Longest accepted pickle. A state dict takes some 150 bytes per tensor.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Most axes of a tensor, as in PyTorch.
const MAX_AXES: usize = 64;

/// Reads a whole pickle and returns its value with the objects it points to.
///
/// # Errors
/// [`ErrorKind::Global`] for a name that is not allowed, [`ErrorKind::Pickle`] with the position for everything else.
pub(super) fn unpickle(bytes: &[u8]) -> Result<(Value, Objects), ErrorKind> {
    if bytes.len() > MAX_BYTES {
        return Err(ErrorKind::Limit {
            what: "length of the pickle",
            found: bytes.len() as u64,
            limit: MAX_BYTES as u64,
        });
    }
    let mut machine = Machine {
        bytes: Bytes::new(bytes),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Objects::default(),
    };
    loop {
        let offset = machine.bytes.position;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(value)) => return Ok((value, machine.objects)),
            Err(Fault::Text(fault)) => return Err(ErrorKind::Pickle { offset, fault }),
            Err(Fault::Global { module, name }) => {
                return Err(ErrorKind::Global { name: format!("{module}.{name}") });
            }
        }
    }
}

enum Fault {
    Text(String),
    Global { module: String, name: String },
}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

struct Machine<'a> {
    bytes: Bytes<'a>,
    stack: Vec<Value>,
    /// Heights of the stack at which a mark was set.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Objects,
}

impl Machine<'_> {
    /// Executes one instruction; the value of the pickle when that was the last.
    fn step(&mut self) -> Result<Option<Value>, Fault> {
        match self.bytes.u8()? {
            // PROTO, FRAME: nothing depends on them.
            0x80 => drop(self.bytes.take(1)?),
            0x95 => drop(self.bytes.take(8)?),
            b'.' => return self.pop().map(Some),

            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'J' => {
                let value = self.bytes.i32()?.into();
                self.stack.push(Value::Int(value));
            }
            b'K' => {
                let value = self.bytes.u8()?.into();
                self.stack.push(Value::Int(value));
            }
            b'M' => {
                let value = self.bytes.u16()?.into();
                self.stack.push(Value::Int(value));
            }
            0x8a => {
                let value = self.bytes.long()?;
                self.stack.push(Value::Int(value));
            }
            b'G' => {
                self.bytes.take(8)?;
                self.stack.push(Value::Float);
            }
            b'X' => {
                let len = self.bytes.u32()?.into();
                self.text(len)?;
            }
            0x8c => {
                let len = self.bytes.u8()?.into();
                self.text(len)?;
            }
            0x8d => {
                let len = self.bytes.u64()?;
                self.text(len)?;
            }
            b'B' => {
                let len = self.bytes.u32()?.into();
                self.skip_bytes(len)?;
            }
            b'C' => {
                let len = self.bytes.u8()?.into();
                self.skip_bytes(len)?;
            }

            b'(' => self.marks.push(self.stack.len()),
            b')' => self.tuple(Vec::new()),
            0x85 => self.tuple_of::<1>()?,
            0x86 => self.tuple_of::<2>()?,
            0x87 => self.tuple_of::<3>()?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.tuple(items);
            }
            b']' => {
                self.objects.sequences.push(Vec::new());
                self.stack.push(Value::List(self.objects.sequences.len() - 1));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b'}' => self.dict(),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }

            b'q' => {
                let key = self.bytes.u8()?.into();
                self.memoize(key)?;
            }
            b'r' => {
                let key = self.bytes.u32()?;
                self.memoize(key)?;
            }
            0x94 => {
                let key = u32::try_from(self.memo.len()).map_err(|_| "too many memo entries")?;
                self.memoize(key)?;
            }
            b'h' => {
                let key = self.bytes.u8()?.into();
                self.recall(key)?;
            }
            b'j' => {
                let key = self.bytes.u32()?;
                self.recall(key)?;
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            b'c' => {
                let (module, name) = (self.bytes.line()?, self.bytes.line()?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (self.objects.text(module), self.objects.text(name)) else {
                    return Err("the name of a class or function is not a string".into());
                };
                let (module, name) = (module.to_owned(), name.to_owned());
                self.global(&module, &name)?;
            }
            b'Q' => self.persistent_id()?,
            b'R' => self.call()?,
            // State of an ordered dict: the versions of a module's parameters, of no use here.
            b'b' => {
                self.pop()?;
                if !matches!(self.top()?, Value::Dict(_)) {
                    return Err("state is set on something other than a dict".into());
                }
            }
            other => {
                return Err(Fault::Text(format!("instruction {other:#04x} is not one that torch.save uses")));
            }
        }
        Ok(None)
    }

    fn text(&mut self, len: u64) -> Result<(), Fault> {
        let text = String::from_utf8_lossy(self.bytes.take(len)?).into_owned();
        self.objects.texts.push(text);
        self.stack.push(Value::Text(self.objects.texts.len() - 1));
        Ok(())
    }

    fn skip_bytes(&mut self, len: u64) -> Result<(), Fault> {
        self.bytes.take(len)?;
        self.stack.push(Value::Bytes);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("the stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn top(&self) -> Result<Value, Fault> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, Fault> {
        let mark = self.marks.pop().ok_or("there is no mark on the stack")?;
        // `pop` never goes below the last mark, so the mark is within the stack.
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, items: Vec<Value>) {
        self.objects.sequences.push(items);
        self.stack.push(Value::Tuple(self.objects.sequences.len() - 1));
    }

    fn tuple_of<const LEN: usize>(&mut self) -> Result<(), Fault> {
        let mut items = (0..LEN).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.tuple(items);
        Ok(())
    }

    fn dict(&mut self) {
        self.objects.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.objects.dicts.len() - 1));
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        let Value::List(index) = self.top()? else {
            return Err("items are added to something other than a list".into());
        };
        let list = self.objects.sequences.get_mut(index).ok_or("a list is gone")?;
        list.extend(items);
        Ok(())
    }

    fn set_items(&mut self, items: &[Value]) -> Result<(), Fault> {
        let Value::Dict(index) = self.top()? else {
            return Err("keys are set on something other than a dict".into());
        };
        let (pairs, rest) = items.as_chunks();
        if !rest.is_empty() {
            return Err("a key has no value".into());
        }
        let dict = self.objects.dicts.get_mut(index).ok_or("a dict is gone")?;
        dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn memoize(&mut self, key: u32) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Fault> {
        let value = *self.memo.get(&key).ok_or("a memo entry is used before it is set")?;
        self.stack.push(value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        let global = Global::named(module, name)
            .ok_or_else(|| Fault::Global { module: module.to_owned(), name: name.to_owned() })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    /// `("storage", torch.FloatStorage, key, location, number of elements)`
    fn persistent_id(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let storage = match self.objects.tuple(id) {
            Some([tag, Value::Global(Global::Storage(element_type)), key, _, Value::Int(len)])
                if self.objects.text(*tag) == Some("storage") =>
            {
                self.objects.text(*key).ok_or("the key of a storage is not a string")?;
                let len = u64::try_from(*len).map_err(|_| "a storage has a negative length")?;
                Storage { key: *key, element_type: *element_type, len }
            }
            _ => return Err("a persistent id does not describe a storage".into()),
        };
        self.objects.storages.push(storage);
        self.stack.push(Value::Storage(self.objects.storages.len() - 1));
        Ok(())
    }

    fn call(&mut self) -> Result<(), Fault> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Some(arguments) = self.objects.tuple(arguments) else {
            return Err("the arguments of a call are not a tuple".into());
        };
        match (function, arguments) {
            (Value::Global(Global::OrderedDict), []) => self.dict(),
            // The data of a parameter is the tensor; its other arguments concern gradients.
            (Value::Global(Global::RebuildParameter), [tensor @ Value::Tensor(_), ..]) => {
                let tensor = *tensor;
                self.stack.push(tensor);
            }
            (
                Value::Global(Global::RebuildTensor),
                [Value::Storage(storage), Value::Int(offset), shape, strides, _, _, metadata @ ..],
            ) => {
                self.check_metadata(metadata)?;
                let tensor = TensorView {
                    storage: *storage,
                    offset: u64::try_from(*offset).map_err(|_| "a tensor has a negative offset")?,
                    shape: self.checked_sizes(*shape)?,
                    strides: self.checked_sizes(*strides)?,
                };
                self.objects.tensors.push(tensor);
                self.stack.push(Value::Tensor(self.objects.tensors.len() - 1));
            }
            _ => return Err("a call has arguments that torch.save does not write".into()),
        }
        Ok(())
    }

    /// Refuses a tensor whose values are not those of its storage: PyTorch can negate or conjugate lazily, and says so here.
    fn check_metadata(&self, metadata: &[Value]) -> Result<(), Fault> {
        let entries = match metadata {
            [] | [Value::None] => return Ok(()),
            [metadata] => self.objects.dict(*metadata),
            _ => None,
        };
        let entries = entries.ok_or("the metadata of a tensor are not a dict")?;
        if entries.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = entries.iter().filter_map(|(key, _)| self.objects.text(*key)).collect();
        Err(Fault::Text(format!(
            "a tensor is a view that is more than its storage (metadata: {}); save its own values, \
             `tensor.resolve_conj().resolve_neg()`",
            names.join(", ")
        )))
    }

    /// A shape or strides. Tuples never change, so that they can be pointed to once they have been checked.
    fn checked_sizes(&self, value: Value) -> Result<Value, Fault> {
        let items = self.objects.tuple(value).ok_or("a shape is not a tuple")?;
        if items.len() > MAX_AXES {
            return Err(Fault::Text(format!("a tensor has {} axes, more than {MAX_AXES}", items.len())));
        }
        match items.iter().find(|item| !matches!(item, Value::Int(0..))) {
            None => Ok(value),
            Some(Value::Int(_)) => Err("a shape has a negative size".into()),
            Some(_) => Err("a shape has a size that is not an integer".into()),
        }
    }
}
