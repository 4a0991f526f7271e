"""Writes small files of the formats that `interop.readers` reads, without their programs."""

import io
import json
import zipfile

import numpy as np


def varint(value):
    """A number on the wire of protocol buffers."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """A field of a message: an int, a text, bytes, or floats [N], packed."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, np.ndarray):
        value = value.astype("<f4").tobytes()
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(nodes, raw=True):
    """A model of nodes (name, operator, {input name: array}, {attribute: int}).

    Weights stand as raw bytes, or as a list of floats.
    """
    graph = b""
    for name, operator, arrays, attributes in nodes:
        node = field(1, "x") + b"".join(field(1, key) for key in arrays)
        node += field(2, "y") + field(3, name) + field(4, operator)
        for key, value in attributes.items():
            node += field(5, field(1, key) + field(3, value))
        graph += field(1, node)
        for key, array in arrays.items():
            dims = b"".join(field(1, size) for size in array.shape)
            content = field(9, array.astype("<f4").tobytes()) if raw else field(4, array.ravel())
            graph += field(5, dims + field(2, 1) + field(8, key) + content)
    return field(1, 8) + field(7, graph)


def caffe(layers, name="net", old=False):
    """A NetParameter of layers (name, type, [arrays]), of today or of 2014."""
    net = field(1, name)
    for layer, kind, arrays in layers:
        blobs = b""
        for array in arrays:
            data = field(5, array.ravel())
            if old:
                sizes = (1,) * (4 - array.ndim) + array.shape
                shape = b"".join(field(i, size) for i, size in enumerate(sizes, 1))
            else:
                shape = field(7, field(1, b"".join(varint(size) for size in array.shape)))
            blobs += field(6 if old else 7, data + shape)
        about = field(4, layer) if old else field(1, layer) + field(2, kind)
        net += field(2 if old else 100, about + blobs)
    return net


def keras(layers):
    """`.weights.h5` of Keras 3: layers by name, each a list of arrays."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        for i, (name, arrays) in enumerate(layers.items()):
            group = content.create_group(f"layers/layer_{i}/vars")
            group.attrs["name"] = name
            for number, array in enumerate(arrays):
                group[str(number)] = array
    return file.getvalue()


def keras_archive(layers):
    """The same in a `.keras` file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", keras(layers))
    return file.getvalue()


def tfjs(folder, arrays, quantized=()):
    """`model.json` and its one shard; arrays named in `quantized` are stored in 8 bits."""
    entries, shard = [], b""
    for name, array in arrays.items():
        entry = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        if name in quantized:
            low, scale = float(array.min()), float(np.ptp(array)) / 255 or 1.0
            entry["quantization"] = {"dtype": "uint8", "min": low, "scale": scale}
            shard += np.round((array - low) / scale).astype("u1").tobytes()
        else:
            shard += array.astype("<f4").tobytes()
        entries.append(entry)
    manifest = [{"paths": ["group1-shard1of1.bin"], "weights": entries}]
    content = {"modelTopology": {}, "weightsManifest": manifest}
    (folder / "model.json").write_text(json.dumps(content))
    (folder / "group1-shard1of1.bin").write_bytes(shard)


def table(entries):
    """A table of LevelDB's format: keys and values in one block, without compression."""

    def block(pairs):
        content = b""
        for key, value in pairs:
            content += varint(0) + varint(len(key)) + varint(len(value)) + key + value
        return content + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")

    out, places = b"", []
    for pairs in (entries, []):
        content = block(pairs)
        places.append(varint(len(out)) + varint(len(content)))
        out += content + bytes(5)  # not compressed, and a checksum that nobody reads
    index = block([(b"~", places[0])])
    footer = places[1] + varint(len(out)) + varint(len(index))
    return (
        out + index + bytes(5) + footer.ljust(40, b"\0") + 0xDB4775248B80FB57.to_bytes(8, "little")
    )


def shape_proto(array):
    return b"".join(field(2, field(1, size)) for size in array.shape)


def tf_slices(arrays):
    """A checkpoint of TensorFlow 1 in its older format, one file."""
    about = b"".join(
        field(1, field(1, name) + field(2, shape_proto(array)) + field(3, 1))
        for name, array in arrays.items()
    )
    entries = [(b"", field(1, about))]
    for name, array in sorted(arrays.items()):
        tensor = field(1, 1) + field(5, array.ravel())
        value = field(2, field(1, name) + field(3, tensor))
        entries.append((b"\0" + name.encode(), value))
    return table(entries)


def tf_bundle(folder, arrays):
    """The same in the newer format: `a.index` and `a.data-00000-of-00001`."""
    entries, data = [(b"", field(1, 1))], b""
    for name, array in sorted(arrays.items()):
        content = array.astype("<f4").tobytes()
        value = field(1, 1) + field(2, shape_proto(array))
        value += field(4, len(data)) + field(5, len(content))
        entries.append((name.encode(), value))
        data += content
    (folder / "a.index").write_bytes(table(entries))
    (folder / "a.data-00000-of-00001").write_bytes(data)
