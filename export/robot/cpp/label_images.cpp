// label_images PLAN < images > labels: raw images of the engine's input, one after the other.
#include "engine.hpp"

int main(int count, char** words) {
  if (count != 2) {
    std::cerr << "usage: label_images PLAN < images > labels\n";
    return 2;
  }
  try {
    artoolkit::Engine engine(words[1]);
    std::vector<char> image(engine.input().bytes), labels(engine.output().bytes);
    while (std::cin.read(image.data(), static_cast<std::streamsize>(image.size()))) {
      engine.infer(image.data(), labels.data());
      std::cout.write(labels.data(), static_cast<std::streamsize>(labels.size()));
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  return std::cout ? 0 : 1;
}
