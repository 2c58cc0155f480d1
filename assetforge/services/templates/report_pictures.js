// Pictures stand in the file once; everything else that shows one points at it.
const facts = JSON.parse(document.getElementById("facts").textContent);
const byId = (id) => document.getElementById(id);
const source = (name) => (name && byId(name) ? byId(name).src : "");
for (const image of document.querySelectorAll("img[data-same]")) image.src = source(image.dataset.same);

const loaded = async (uri) => {
  const image = new Image();
  image.src = uri;
  await image.decode();
  return image;
};

const pixels = (image, width, height) => {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
};

// From black through the amber of the safelight to white.
const ramp = (share) => [Math.min(1, share * 1.9), Math.min(1, Math.max(0, share * 1.6 - 0.25)), Math.max(0, share * 2 - 1)];

// Draws the amplified absolute difference of two pictures and says how large it is on average, 0 to 1.
const drawDifference = async (canvas, first, second, gain) => {
  const [a, b] = await Promise.all([loaded(first), loaded(second)]);
  const width = a.naturalWidth, height = a.naturalHeight;
  const one = pixels(a, width, height), other = pixels(b, width, height);
  const drawn = new ImageData(width, height);
  let sum = 0;
  for (let at = 0; at < one.length; at += 4) {
    const apart = [0, 1, 2].map((channel) => Math.abs(one[at + channel] - other[at + channel]));
    sum += apart[0] + apart[1] + apart[2];
    const colour = ramp(Math.min(1, (Math.max(...apart) / 255) * gain));
    for (let channel = 0; channel < 3; channel++) drawn.data[at + channel] = 255 * colour[channel];
    drawn.data[at + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(drawn, 0, 0);
  return sum / (width * height * 3 * 255);
};
