// Writes the Inception-v3 of nsfwjs as a folder of TensorFlow.js, and what its own runtime predicts:
//   npm install nsfwjs@4.4.0 @tensorflow/tfjs@4 && node tests/interop/nsfwjs.mjs FOLDER
import {createRequire} from 'node:module';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';

const require = createRequire(join(process.cwd(), 'package.json'));
const tf = require('@tensorflow/tfjs');
const folder = process.argv[2];
const shipped = join(process.cwd(), 'node_modules/nsfwjs/dist/models/inception_v3');
mkdirSync(folder, {recursive: true});

const model = require(join(shipped, 'model.min.js'));
const paths = model.weightsManifest[0].paths;
const shards = paths.map((path) => Buffer.from(require(join(shipped, `${path}.min.js`)), 'base64'));
writeFileSync(join(folder, 'model.json'), JSON.stringify(model));
paths.forEach((path, i) => writeFileSync(join(folder, path), shards[i]));

const whole = Buffer.concat(shards);
const network = await tf.loadLayersModel(tf.io.fromMemory({
  modelTopology: model.modelTopology,
  weightSpecs: model.weightsManifest[0].weights,
  weightData: whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.length),
}));
// The test makes the same image: values from 0 to 1, as nsfwjs gives its network.
const image = Float32Array.from({length: 299 * 299 * 3}, (_, i) => ((i * 7919) % 1009) / 1008);
const predicted = network.predict(tf.tensor4d(image, [1, 299, 299, 3]));
console.log(JSON.stringify(Array.from(predicted.dataSync())));
