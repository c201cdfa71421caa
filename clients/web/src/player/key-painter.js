// WebGL: two pictures, without a colour, one dissolving into the other.

const VERTICES = `
attribute vec2 corner;
varying vec2 at;
void main() {
  at = vec2(corner.x, 1.0 - corner.y);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

// How much of the key is in a pixel is told by its chroma (Cb, Cr as in ITU-R BT.601): as much of
// the key's as goes beyond what another colour could have (Jack, Video Demystified, "Chroma
// keying"). That share is taken out, which also clears what the screen reflects on hair and chin;
// what is left is as opaque as the share is small. Output is premultiplied.
const FRAGMENTS = `
precision mediump float;
varying vec2 at;
uniform sampler2D loop;
uniform sampler2D speech;
uniform float mixed;
uniform vec3 key;

const float CLEAR = 0.72;   // of the key: nothing of the face is left in it (folds, shadows)
const float SOLID = 0.06;   // of the key: noise, not background

vec2 chroma(vec3 c) {
  float y = dot(c, vec3(0.299, 0.587, 0.114));
  return vec2(0.564 * (c.b - y), 0.713 * (c.r - y));
}

vec4 keyed(vec3 c) {
  vec2 k = chroma(key);
  vec2 along = normalize(k);
  vec2 own = chroma(c);
  float towards = dot(own, along);
  float beyond = towards - abs(own.x * along.y - own.y * along.x);
  float share = clamp(beyond / length(k), 0.0, 1.0);
  float alpha = 1.0 - smoothstep(SOLID, CLEAR, share);
  // At an edge, all that leans towards the key is of the screen.
  float spill = mix(share, clamp(towards / length(k), 0.0, 1.0), smoothstep(0.0, SOLID, share));
  vec3 rest = max(c - spill * key, 0.0) / max(1.0 - spill, 0.001);
  return vec4(min(rest, 1.0) * alpha, alpha);
}

void main() {
  vec4 a = mixed < 1.0 ? keyed(texture2D(loop, at).rgb) : vec4(0.0);
  vec4 b = mixed > 0.0 ? keyed(texture2D(speech, at).rgb) : vec4(0.0);
  gl_FragColor = mix(a, b, mixed);
}`;

export class KeyPainter {
  #gl;
  #places = {};
  #textures;

  /** Raises an Error where the browser can't do it. */
  constructor(gl) {
    this.#gl = gl;
    const program = gl.createProgram();
    gl.attachShader(program, this.#compile(gl.VERTEX_SHADER, VERTICES));
    gl.attachShader(program, this.#compile(gl.FRAGMENT_SHADER, FRAGMENTS));
    gl.linkProgram(program);
    gl.useProgram(program);
    for (const name of ["loop", "speech", "mixed", "key"]) {
      this.#places[name] = gl.getUniformLocation(program, name);
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    this.#textures = ["loop", "speech"].map((name, unit) => {
      gl.uniform1i(this.#places[name], unit);
      return this.#makeTexture(unit);
    });
  }

  #compile(type, source) {
    const gl = this.#gl;
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new Error(`The background can't be drawn here: ${gl.getShaderInfoLog(shader)}`);
    }
    return shader;
  }

  #makeTexture(unit) {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    // WebGL 1 draws textures of any size only so.
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
      gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    }
    for (const size of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, size, gl.LINEAR);
    }
    return texture;
  }

  /**
   * `loop`, `speech`: videos, null where nothing of them is seen; `mix`: of speech, 0 … 1; `key`:
   * [r, g, b], 0 … 1. Raises an Error for videos of another origin that may not be read.
   */
  paint({ loop, speech, mix, key }) {
    const gl = this.#gl;
    const { drawingBufferWidth: width, drawingBufferHeight: height } = gl;
    [loop, speech].forEach((video, unit) => {
      // One that is given another film keeps its last picture until then.
      if (video === null || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, video);
    });
    gl.viewport(0, 0, width, height);
    gl.uniform1f(this.#places.mixed, mix);
    gl.uniform3fv(this.#places.key, key);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  close() {
    for (const texture of this.#textures) this.#gl.deleteTexture(texture);
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext(); // browsers have room for a few
  }
}
